"""A submitted job, for event loops."""

import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from os import PathLike
from typing import Any

from fornada.errors import WaitTimeoutError
from fornada.jobs.manifest import JobManifest
from producer.asynchronous.threads import Threads
from producer.following.waiting import AsyncJobWatch, Due
from producer.item_results import ShardResult
from producer.job import Job
from producer.job_reader import DeadShard, FailedItem
from producer.job_status import JobStatus
from producer.options import check_seconds
from producer.results import Results


class AsyncJob:
    """A submitted job: the methods of `Job`, which an event loop awaits."""

    def __init__(self, job: Job, *, threads: Threads) -> None:
        self._job = job
        self._threads = threads

    @property
    def id(self) -> str:
        """The job's id; `AsyncClient.job(id)` finds it again, in any process."""
        return self._job.id

    @property
    def manifest(self) -> JobManifest:
        """What was submitted; never changes."""
        return self._job.manifest

    def __repr__(self) -> str:
        return f"AsyncJob({self.id!r})"

    async def status(self) -> JobStatus:
        """As `Job.status`."""
        return await self._threads.run(self._job.status)

    async def wait(
        self,
        timeout_s: float | None = None,
        *,
        on_progress: Callable[[JobStatus], None] | None = None,
    ) -> JobStatus:
        """As `Job.wait`; a job that is waited for takes no thread.

        Raises:
            FornadaError: As `Job.wait`.
        """
        if timeout_s is not None:
            check_seconds(timeout_s, "timeout_s")
        until = math.inf if timeout_s is None else time.monotonic() + float(timeout_s)
        looks, glances = self._job.looks(), on_progress is not None
        async with AsyncJobWatch(self.id, notices=self._job.notices, glances=glances) as watch:
            await watch.begin(until - time.monotonic())
            look = looks.look
            while True:
                status = (await self._threads.run(look)).status
                if on_progress is not None:
                    on_progress(status)
                if status.ended:
                    return status
                left_s = until - time.monotonic()
                if left_s <= 0:
                    why = "" if status.reason is None else f" ({status.reason})"
                    raise WaitTimeoutError(
                        f"job {self.id} has {status.shards_done} of {status.shards} shards after "
                        f"{timeout_s:g} s{why}; it continues, so wait again"
                    )
                due = await watch.wait(left_s)
                look = looks.look if due is Due.LOOK else looks.glance

    async def results(self, *, partial: bool = False) -> Results:
        """As `Job.results`.

        Raises:
            FornadaError: As `Job.results`.
        """
        return await self._threads.run(self._job.results, partial=partial)

    def shard_results(self, *, partial: bool = False) -> AsyncIterator[ShardResult]:
        """As `Job.shard_results`: `async for shard in job.shard_results()`.

        Raises:
            FornadaError: As `Job.shard_results`.
        """
        return self._threads.iterate(lambda: self._job.shard_results(partial=partial))

    def carried_columns(
        self, names: Sequence[str], *, paths: Sequence[PathLike[str]] = ()
    ) -> AsyncIterator[Any]:
        """As `Job.carried_columns`.

        Raises:
            FornadaError: As `Job.carried_columns`.
        """
        return self._threads.iterate(lambda: self._job.carried_columns(names, paths=paths))

    async def store_results(
        self,
        fmt: str = "parquet",
        *,
        top_k: int | None = None,
        columns: Sequence[str] = (),
        paths: Sequence[PathLike[str]] = (),
        partial: bool = False,
    ) -> str:
        """As `Job.store_results`.

        Raises:
            FornadaError: As `Job.store_results`.
        """
        return await self._threads.run(
            self._job.store_results,
            fmt,
            top_k=top_k,
            columns=columns,
            paths=paths,
            partial=partial,
        )

    async def cancel(self, reason: str = "cancelled by its submitter") -> JobStatus:
        """As `Job.cancel`."""
        return await self._threads.run(self._job.cancel, reason)

    def item_errors(self) -> AsyncIterator[FailedItem]:
        """As `Job.item_errors`."""
        return self._threads.iterate(self._job.item_errors)

    def dead_shards(self) -> AsyncIterator[DeadShard]:
        """As `Job.dead_shards`."""
        return self._threads.iterate(self._job.dead_shards)
