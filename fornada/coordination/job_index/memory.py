"""`JobIndex` in memory, for tests."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fornada.coordination.job_index.interface import Position


class InMemoryJobIndex:
    """`JobIndex` in dictionaries; part of `InMemoryCoordination`."""

    #: Has a lock, `submitted_s`, `complete`, `owned` and `owners_complete`.
    _memory: Any

    def note_owned(self, owner: str, submitted: Mapping[str, datetime]) -> None:
        with self._memory.lock:
            own = self._memory.owned.setdefault(owner, {})
            for job_id, at in submitted.items():
                own.setdefault(job_id, Position.of(job_id, at).at_ms)

    def knows_owners(self) -> bool:
        with self._memory.lock:
            return bool(self._memory.owners_complete)

    def restore_owned(self, owned: Mapping[str, Mapping[str, datetime]]) -> None:
        with self._memory.lock:
            for owner, submitted in owned.items():
                self.note_owned(owner, submitted)
            self._memory.owners_complete = True

    def jobs_before(
        self, before: Position | None, *, owner: str | None, count: int
    ) -> list[Position] | None:
        with self._memory.lock:
            if not (self._memory.complete if owner is None else self._memory.owners_complete):
                return None
            known = (
                self._memory.owned.get(owner, {})
                if owner is not None
                else {
                    job_id: round(at_s * 1e3) for job_id, at_s in self._memory.submitted_s.items()
                }
            )
        places = sorted((Position(at, job_id) for job_id, at in known.items()), reverse=True)
        return [place for place in places if before is None or place < before][:count]

    def forget_owned(self, owner: str, job_id: str) -> None:
        with self._memory.lock:
            self._memory.owned.get(owner, {}).pop(job_id, None)
