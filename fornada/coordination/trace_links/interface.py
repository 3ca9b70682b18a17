"""Which span submitted a job, for those who enqueue its shards later."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol


class TraceLinks(Protocol):
    """The `traceparent` of jobs while they are open."""

    def note_trace(self, job_ids: Iterable[str], traceparent: str) -> None:
        """Note what submitted the jobs, which are listed as open."""

    def traces_of(self, job_ids: Sequence[str]) -> Mapping[str, str]:
        """The jobs' `traceparent`, of those that have one."""
