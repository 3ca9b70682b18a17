"""Jobs by time of submission, of all owners and of one, a page at a time. All of it may be lost."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple, Protocol


class Position(NamedTuple):
    """Where a job stands among others: by time of submission, then by id."""

    at_ms: int
    job_id: str

    @classmethod
    def of(cls, job_id: str, at: datetime) -> "Position":
        """Of a job that was submitted then."""
        return cls(round(at.timestamp() * 1e3), job_id)

    @property
    def at(self) -> datetime:
        """When it was submitted."""
        return datetime.fromtimestamp(self.at_ms / 1e3, UTC)


class JobIndex(Protocol):
    """The newest jobs, `NEWEST_JOBS` of each owner and of all."""

    def note_owned(self, owner: str, submitted: Mapping[str, datetime]) -> None:
        """Note jobs of an owner -> when each was submitted, before they exist."""

    def knows_owners(self) -> bool:
        """Whether nothing was forgotten of what was noted."""

    def restore_owned(self, owned: Mapping[str, Mapping[str, datetime]]) -> None:
        """Add what the store knows, owner -> job -> submission, and declare it complete."""

    def jobs_before(
        self, before: Position | None, *, owner: str | None, count: int
    ) -> list[Position] | None:
        """The newest `count` jobs older than `before`, newest first; of all owners if `None`.

        A few may not exist. Fewer than `count` come when Redis keeps no more; `None` when it has
        forgotten some.
        """

    def forget_owned(self, owner: str, job_id: str) -> None:
        """Remove a job that does not exist any more."""
