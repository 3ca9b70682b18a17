"""What is still to be done of all jobs, counted in shards and in items."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from fornada.coordination import Coordination
from fornada.job_manifest import JobManifest
from fornada.messages import ShardMessage
from producer.sender import Sender


@dataclass(frozen=True, kw_only=True, slots=True)
class Amount:
    """So many shards, with so many items in them."""

    shards: int = 0
    items: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(shards=self.shards + other.shards, items=self.items + other.items)


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """What has no outcome yet, each shard counted once.

    A queue's length alone misleads: it leaves out what workers hold, and what waits for room.
    """

    #: Not enqueued yet: the queue holds `FORNADA_ENQUEUE_WINDOW` messages, or they were lost.
    waiting: Amount = Amount()
    #: In the queue.
    queued: Amount = Amount()
    #: Taken by a worker, and not begun.
    reserved: Amount = Amount()
    #: At work.
    running: Amount = Amount()

    @property
    def total(self) -> Amount:
        """All of it."""
        return self.waiting + self.queued + self.reserved + self.running

    def __add__(self, other: "Backlog") -> "Backlog":
        return Backlog(
            waiting=self.waiting + other.waiting,
            queued=self.queued + other.queued,
            reserved=self.reserved + other.reserved,
            running=self.running + other.running,
        )


def backlog_of(
    manifests: Iterable[JobManifest], *, coordination: Coordination, sender: Sender
) -> Backlog:
    """The backlog of the open jobs that `manifests` describe."""
    # Asked first: what moves on meanwhile is then seen further on, and not twice.
    reserved = sender.reserved()
    found = (_of_job(manifest, reserved, coordination) for manifest in manifests)
    return sum(found, start=Backlog())


def _of_job(
    manifest: JobManifest, reserved: Collection[ShardMessage], coordination: Coordination
) -> Backlog:
    progress = coordination.progress(manifest.job_id)
    item_counts = manifest.shards.item_counts
    left = set(range(len(item_counts))) - progress.done
    running = left & progress.running
    held = {message.shard for message in reserved if message.job_id == manifest.job_id}
    held &= left - running
    queued = left & progress.enqueued.keys() - held
    return Backlog(
        waiting=_amount(item_counts, left - running - held - queued),
        queued=_amount(item_counts, queued),
        reserved=_amount(item_counts, held),
        running=_amount(item_counts, running),
    )


def _amount(item_counts: Sequence[int], shards: Collection[int]) -> Amount:
    return Amount(shards=len(shards), items=sum(item_counts[shard] for shard in shards))
