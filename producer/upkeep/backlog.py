"""The unfinished work of all jobs, counted in shards and in items."""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from fornada.coordination.interface import OpenJobs, Progress
from fornada.errors import JobNotFoundError, MessageError
from fornada.jobs.ids import is_generated_id
from fornada.jobs.manifest import JobManifest
from fornada.jobs.store import JobStore
from fornada.parallel import in_parallel
from fornada.queue.interface import Sender

#: Threads that look at jobs.
_LOOKERS = 24
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


@dataclass(frozen=True, slots=True)
class _Size:
    queue: str
    item_counts: Sequence[int]


class BacklogCounter:
    """Counts shards without an outcome. Safe to share between threads.

    It remembers how large open jobs are from one count to the next, but those with a caller's id,
    under which another job may be submitted once the first was purged.
    """

    def __init__(self, *, jobs: JobStore, coordination: OpenJobs, sender: Sender) -> None:
        self._jobs = jobs
        self._coordination = coordination
        self._sender = sender
        self._sizes: dict[str, _Size] = {}

    def count(self) -> dict[str, Backlog]:
        """The shards left of all open jobs, by queue, without calls.

        Raises:
            BrokerError, StoreError: Redis or the store cannot be reached.
        """
        # Asked first: a shard that moves on meanwhile is counted at its later stage, not twice.
        reserved: dict[str, set[int]] = {}
        for message in self._sender.reserved():
            reserved.setdefault(message.job_id, set()).add(message.shard)
        known = self._sizes
        job_ids = open_job_ids(self._jobs, coordination=self._coordination, known=known.keys())

        def look(job_id: str) -> tuple[_Size, Backlog] | None:
            size = known.get(job_id) or self._read(job_id)
            if size is None:
                return None
            progress = self._coordination.progress(job_id)
            return size, _left(size, progress, reserved.get(job_id, set()))

        found: dict[str, Backlog] = {}
        sizes: dict[str, _Size] = {}
        wanted = sorted(job_ids)
        for job_id, of_job in zip(wanted, in_parallel(look, wanted, threads=_LOOKERS), strict=True):
            if of_job is None:
                continue
            size, left = of_job
            found[size.queue] = found.get(size.queue, Backlog()) + left
            if is_generated_id(job_id):
                sizes[job_id] = size
        self._sizes = sizes
        return found

    def _read(self, job_id: str) -> _Size | None:
        manifest = _manifest(self._jobs, job_id)
        if manifest is None:
            return None
        return _Size(manifest.queue_name, manifest.shards.item_counts)


def open_job_ids(
    jobs: JobStore, *, coordination: OpenJobs, known: AbstractSet[str] = frozenset()
) -> set[str]:
    """The jobs that have not ended, and perhaps some that never began or cannot be read.

    Args:
        jobs: The store.
        coordination: Redis.
        known: Jobs that exist.
    """
    job_ids = coordination.open_jobs()
    if job_ids is None:
        # Redis was emptied, and no reconciler has listed the store yet.
        stored = jobs.job_ids()
        ends = in_parallel(lambda job_id: _has_end(jobs, job_id), stored)
        job_ids = {job_id for job_id, has_end in zip(stored, ends, strict=True) if not has_end}
    elif len(job_ids - known) > _FEW_JOBS:
        # Anyone may have listed any number there.
        job_ids = jobs.stored(job_ids)
    return set(job_ids)


def readable_manifests(jobs: JobStore, job_ids: Iterable[str]) -> Iterator[JobManifest]:
    """The manifests of those of the jobs that exist and can be read, by id."""
    for manifest in in_parallel(lambda job_id: _manifest(jobs, job_id), sorted(job_ids)):
        if manifest is not None:
            yield manifest


def _manifest(jobs: JobStore, job_id: str) -> JobManifest | None:
    # A job is listed before its manifest is written. Nobody does the work of one that cannot be
    # read.
    with contextlib.suppress(JobNotFoundError, MessageError):
        return jobs.manifest(job_id)
    return None


def _has_end(jobs: JobStore, job_id: str) -> bool:
    try:
        return jobs.final(job_id) is not None
    except MessageError:
        # It ended, however.
        return True


def _left(size: _Size, progress: Progress, reserved: set[int]) -> Backlog:
    unfinished = progress.unfinished(len(size.item_counts), reserved=reserved)
    counts = {state: _count(size.item_counts, left) for state, left in unfinished.items()}
    return Backlog(
        waiting=counts["waiting"],
        queued=counts["queued"],
        reserved=counts["reserved"],
        running=counts["running"],
    )


def _count(item_counts: Sequence[int], shards: Collection[int]) -> WorkCount:
    return WorkCount(shards=len(shards), items=sum(item_counts[shard] for shard in shards))
