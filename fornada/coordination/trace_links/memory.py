"""`TraceLinks` in memory, for tests."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class InMemoryTraceLinks:
    """`TraceLinks` in a dictionary; part of `InMemoryCoordination`."""

    #: Has a lock and `jobs`.
    _memory: Any

    def note_trace(self, job_ids: Iterable[str], traceparent: str) -> None:
        with self._memory.lock:
            for job_id in job_ids:
                self._memory.jobs[job_id].traceparent = traceparent

    def traces_of(self, job_ids: Sequence[str]) -> Mapping[str, str]:
        with self._memory.lock:
            found = {job_id: self._memory.jobs[job_id].traceparent for job_id in job_ids}
        return {job_id: traceparent for job_id, traceparent in found.items() if traceparent}
