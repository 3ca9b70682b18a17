"""The unfinished work of all jobs, counted in shards and in items."""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from fornada.coordination.interface import OpenJobs
from fornada.errors import JobNotFoundError, MessageError
from fornada.jobs.manifest import JobManifest
from fornada.jobs.store import JobStore
from fornada.parallel import in_parallel
from fornada.queue.interface import Sender
from fornada.queue.message import ShardMessage

#: Open jobs that are read without asking the store first which of them it has.
_FEW_JOBS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkCount:
    """A number of shards, and of the items in them."""

    shards: int = 0
    items: int = 0

    def __add__(self, other: "WorkCount") -> "WorkCount":
        return WorkCount(shards=self.shards + other.shards, items=self.items + other.items)


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """The shards without an outcome, each counted once.

    The length of the queue alone misleads: it omits what workers hold and what waits for room.
    """

    #: Not enqueued: the queue holds `FORNADA_ENQUEUE_WINDOW` messages, or the message was lost.
    waiting: WorkCount = WorkCount()
    #: In the queue.
    queued: WorkCount = WorkCount()
    #: Taken by a worker and not begun.
    reserved: WorkCount = WorkCount()
    #: Being computed.
    running: WorkCount = WorkCount()
    #: Calls of `predict` that no worker has taken.
    calls: int = 0

    @property
    def total(self) -> WorkCount:
        """All shards."""
        return self.waiting + self.queued + self.reserved + self.running

    @property
    def work(self) -> int:
        """Shards and calls; while there are any, workers are needed."""
        return self.total.shards + self.calls

    def __add__(self, other: "Backlog") -> "Backlog":
        stages = ("waiting", "queued", "reserved", "running", "calls")
        return Backlog(**{name: getattr(self, name) + getattr(other, name) for name in stages})


def backlogs_of(
    jobs: JobStore,
    *,
    coordination: OpenJobs,
    sender: Sender,
    manifest_of: Callable[[str], JobManifest] | None = None,
) -> dict[str, Backlog]:
    """The shards left of all open jobs, by queue, without calls.

    Args:
        jobs: The store.
        coordination: Redis.
        sender: Knows what workers have taken.
        manifest_of: Reads manifests, for those who hold the last ones.
    """
    # Asked first: a shard that moves on meanwhile is counted at its later stage, not twice.
    reserved = sender.reserved()
    job_ids = open_job_ids(jobs, coordination=coordination)
    found: dict[str, Backlog] = {}
    for manifest in readable_manifests(job_ids, manifest_of=manifest_of or jobs.manifest):
        left = _of_job(manifest, reserved, coordination)
        queue = manifest.queue_name
        found[queue] = found.get(queue, Backlog()) + left
    return found


def open_job_ids(jobs: JobStore, *, coordination: OpenJobs) -> set[str]:
    """The jobs that have not ended, and perhaps some that never began or cannot be read."""
    job_ids = coordination.open_jobs()
    if job_ids is None:
        # Redis was emptied, and no reconciler has listed the store yet.
        known = jobs.job_ids()
        ends = in_parallel(lambda job_id: _has_end(jobs, job_id), known)
        job_ids = {job_id for job_id, has_end in zip(known, ends, strict=True) if not has_end}
    elif len(job_ids) > _FEW_JOBS:
        # Anyone may have listed any number there.
        job_ids = jobs.stored(job_ids)
    return set(job_ids)


def readable_manifests(
    job_ids: Iterable[str], *, manifest_of: Callable[[str], JobManifest]
) -> Iterator[JobManifest]:
    """The manifests of those of the jobs that exist and can be read, by id."""

    def readable(job_id: str) -> JobManifest | None:
        # A job is listed before its manifest is written. Nobody does the work of one that cannot
        # be read.
        with contextlib.suppress(JobNotFoundError, MessageError):
            return manifest_of(job_id)
        return None

    for manifest in in_parallel(readable, sorted(job_ids)):
        if manifest is not None:
            yield manifest


def _has_end(jobs: JobStore, job_id: str) -> bool:
    try:
        return jobs.final(job_id) is not None
    except MessageError:
        # It ended, however.
        return True


def _of_job(
    manifest: JobManifest, reserved: Collection[ShardMessage], coordination: OpenJobs
) -> Backlog:
    progress = coordination.progress(manifest.job_id)
    item_counts = manifest.shards.item_counts
    held = {message.shard for message in reserved if message.job_id == manifest.job_id}
    unfinished = progress.unfinished(len(item_counts), reserved=held)
    counts = {state: _count(item_counts, left) for state, left in unfinished.items()}
    return Backlog(
        waiting=counts["waiting"],
        queued=counts["queued"],
        reserved=counts["reserved"],
        running=counts["running"],
    )


def _count(item_counts: Sequence[int], shards: Collection[int]) -> WorkCount:
    return WorkCount(shards=len(shards), items=sum(item_counts[shard] for shard in shards))
