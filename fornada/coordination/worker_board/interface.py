"""What worker processes say of themselves, every few seconds."""

from collections.abc import Sequence
from typing import Protocol

from pydantic import AwareDatetime, Field

from fornada.records import Record

#: How often a worker reports.
REPORT_EVERY_S = 5.0
#: A worker that has not reported for this long is gone.
GONE_AFTER_S = 60.0


class WorkerReport(Record):
    """A worker process now."""

    name: str = Field(max_length=300)
    version: str
    queue: str
    engine: str
    #: `name:version` of the models in its memory.
    models: list[str] = Field(max_length=1000)
    #: Shards that it handles at a time.
    threads: int
    #: Shards in its hands.
    shards_running: int
    #: Since it started; items of calls of `predict` too.
    items_done: int
    #: In the last minute.
    items_per_s: float
    started_at: AwareDatetime
    #: When it last finished a shard or answered a call.
    last_progress_at: AwareDatetime | None = None


class WorkerBoard(Protocol):
    """Where workers report."""

    def report(self, report: WorkerReport) -> None:
        """Replace what the worker said before."""

    def workers(self) -> Sequence[WorkerReport]:
        """What the workers said that reported in the last minute, by name."""

    def forget_worker(self, name: str) -> None:
        """Remove a worker that has ended."""
