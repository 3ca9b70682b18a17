"""The leader of a queue counts its unfinished work now and then, and tells listeners."""

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from fornada.coordination.interface import OpenJobs
from fornada.errors import FornadaError, JobNotFoundError, MessageError
from fornada.events import Events
from fornada.events.queues import BacklogCounted
from fornada.jobs.store import JobStore
from fornada.logs import get_logger
from fornada.parallel import in_parallel
from fornada.queue.interface import Sender
from fornada.repeated import Repeated

log = get_logger(__name__)

#: Time between two counts, if the last one took less than a fiftieth of it.
_EVERY_S, _TIMES_AS_LONG = 15.0, 50.0
#: How soon a process that begins to lead counts.
_LOOK_EVERY_S = 0.5
#: Manifests that a count reads, and small jobs that it looks at; the rest is taken to be like them.
MOST_LOOKS = 256
_STATES = ("waiting", "queued", "reserved", "running")


@dataclass(frozen=True, kw_only=True, slots=True)
class _OpenJob:
    """What is kept of a job."""

    queue: str
    is_small: bool
    item_counts: Sequence[int]
    created_at: datetime


@dataclass(kw_only=True, slots=True)
class _Sums:
    """The unfinished work of several jobs, by state."""

    shards: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    oldest: list[datetime] = field(default_factory=list)

    def add(self, job: _OpenJob, unfinished: Mapping[str, set[int]]) -> None:
        """Add a job's."""
        for state, shards in unfinished.items():
            self.shards[state] += len(shards)
            self.items[state] += sum(job.item_counts[shard] for shard in shards)
        if any(unfinished.values()):
            self.oldest.append(job.created_at)


class Host(Protocol):
    """What keeps a queue's jobs going."""

    def start(self) -> None:
        """Start."""

    def stop(self) -> None:
        """Stop."""


class WatchedHost:
    """A host, and the count of its queue's work."""

    def __init__(self, host: Host, watch: "BacklogWatch") -> None:
        self._host = host
        self._watch = watch

    def start(self) -> None:
        """Start both."""
        self._host.start()
        self._watch.start()

    def stop(self) -> None:
        """Stop both."""
        self._watch.stop()
        self._host.stop()


class BacklogWatch:
    """Counts the unfinished work of a queue while this process leads it: a thread.

    Of thousands of small jobs it looks at some, and takes the others to be like them.

    Args:
        queue: Its name.
        is_leading: Whether this process leads it.
        jobs: The store.
        open_jobs: Redis.
        sender: Knows what workers have taken.
        events: Hears of each count.
    """

    def __init__(
        self,
        *,
        queue: str,
        is_leading: Callable[[], bool],
        jobs: JobStore,
        open_jobs: OpenJobs,
        sender: Sender,
        events: Events,
    ) -> None:
        self._queue = queue
        self._is_leading = is_leading
        self._jobs = jobs
        self._open_jobs = open_jobs
        self._sender = sender
        self._events = events
        #: Open jobs, of other queues too.
        self._known: dict[str, _OpenJob] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backlog", daemon=True)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current count."""
        self._stop.set()
        self._thread.join()

    def count(self) -> None:
        """Count once.

        Raises:
            BrokerError, StoreError: Redis or the store cannot be reached.
        """
        # Asked first: a shard that moves on meanwhile is counted at its later stage, not twice.
        reserved: dict[str, set[int]] = defaultdict(set)
        for message in self._sender.reserved():
            reserved[message.job_id].add(message.shard)
        found = self._open_jobs.open_jobs()
        if found is None:
            # The reconciler restores the list from the store.
            return
        left_out = self._read(found)
        ours = {job_id for job_id, job in self._known.items() if job.queue == self._queue}
        small = sorted(job_id for job_id in ours if self._known[job_id].is_small)
        sample = random.sample(small, min(MOST_LOOKS, len(small)))
        large, some = self._sums(ours.difference(small), reserved), self._sums(sample, reserved)
        scale = (len(small) + left_out) / max(1, len(sample))
        oldest = [*large.oldest, *some.oldest]
        age = self._open_jobs.server_time() - min(oldest) if oldest else None
        self._events.tell(
            BacklogCounted(
                queue=self._queue,
                open_job_count=len(ours) + left_out,
                shard_counts=_total(large.shards, some.shards, scale),
                item_counts=_total(large.items, some.items, scale),
                oldest_s=max(0.0, age.total_seconds()) if age is not None else 0.0,
            )
        )

    def _read(self, open_jobs: set[str]) -> int:
        """Know the open jobs; return how many are left to be read."""
        self._known = {j: known for j, known in self._known.items() if j in open_jobs}
        unknown = sorted(open_jobs - self._known.keys())
        read = random.sample(unknown, min(MOST_LOOKS, len(unknown)))
        for job_id, job in zip(read, in_parallel(self._open_job, read), strict=True):
            if job is not None:
                self._known[job_id] = job
        return len(unknown) - len(read)

    def _open_job(self, job_id: str) -> _OpenJob | None:
        try:
            manifest = self._jobs.manifest(job_id)
        except (JobNotFoundError, MessageError):
            # It may be written a moment later.
            return None
        return _OpenJob(
            queue=manifest.queue_name,
            is_small=manifest.is_small,
            item_counts=manifest.shards.item_counts,
            created_at=manifest.created_at,
        )

    def _sums(self, job_ids: Iterable[str], reserved: Mapping[str, set[int]]) -> _Sums:
        sums = _Sums()
        for job_id in job_ids:
            job = self._known[job_id]
            sums.add(
                job,
                self._open_jobs.progress(job_id).unfinished(
                    len(job.item_counts), reserved=reserved.get(job_id, set())
                ),
            )
        return sums

    def _run(self) -> None:
        repeated, due_s = Repeated(), 0.0
        while not self._stop.wait(_LOOK_EVERY_S):
            if not self._is_leading():
                due_s = 0.0
                continue
            began_s = time.monotonic()
            if began_s < due_s:
                continue
            try:
                self.count()
            except FornadaError as exc:
                repeated.log(log.warning, "backlog not counted", error=str(exc))
            except MemoryError:
                raise
            except Exception as exc:  # noqa: BLE001 - the next count may go better
                what = type(exc).__name__
                repeated.log(log.exception, "backlog not counted, unexpectedly", about=what)
            took_s = time.monotonic() - began_s
            due_s = began_s + max(_EVERY_S, _TIMES_AS_LONG * took_s)


def _total(large: Counter[str], some: Counter[str], scale: float) -> dict[str, int]:
    """Of all jobs: the large ones, and some small ones that stand for `scale` times as many."""
    return {state: large[state] + round(scale * some[state]) for state in _STATES}
