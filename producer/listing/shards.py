"""The shards of a job: the state of each, a page at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from fornada.coordination.interface import Progress
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobFinal, ShardOutcome
from fornada.jobs.store import JobStore
from fornada.parallel import in_parallel
from fornada.ranges import from_ranges


class ShardState(StrEnum):
    """The state of a shard; `ok`, `dead` and `missing` never change."""

    OK = "ok"
    #: It is not tried again.
    DEAD = "dead"
    RUNNING = "running"
    #: In the queue, or taken by a worker.
    QUEUED = "queued"
    #: Not in the queue, which is full, or lost it.
    WAITING = "waiting"
    #: The job ended without it.
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobShard:
    """A shard, and its outcome if it has one."""

    shard: int
    state: ShardState
    first_item: int
    item_count: int
    outcome: ShardOutcome | None


class ShardPage(NamedTuple):
    """Some shards of a job, in order."""

    shards: list[JobShard]
    #: Where the next page begins; `None` after the last one.
    next_first: int | None


def shard_page(
    manifest: JobManifest,
    states: Mapping[int, ShardState],
    *,
    jobs: JobStore,
    wanted: ShardState | None,
    first: int,
    limit: int,
) -> ShardPage:
    """At most `limit` shards from `first` on, of the state `wanted` if there is one.

    Raises:
        StoreError: The store cannot be reached.
    """
    numbers = [s for s in range(first, len(states)) if wanted in {None, states[s]}][: limit + 1]
    final = jobs.end_of(manifest)
    starts, counts = manifest.shards.first_items, manifest.shards.item_counts

    def found(shard: int) -> JobShard:
        outcome = None
        if states[shard] in {ShardState.OK, ShardState.DEAD}:
            outcome = (
                jobs.outcome(manifest.job_id, shard)
                if final is None
                else jobs.counted_outcome(final, shard)
            )
        return JobShard(
            shard=shard,
            state=states[shard],
            first_item=starts[shard],
            item_count=counts[shard],
            outcome=outcome,
        )

    shards = list(in_parallel(found, numbers[:limit]))
    return ShardPage(shards, numbers[limit] if len(numbers) > limit else None)


def ended_states(manifest: JobManifest, final: JobFinal) -> dict[int, ShardState]:
    """The state of each shard of an ended job."""
    states = dict.fromkeys(range(len(manifest.shards)), ShardState.MISSING)
    return (
        states
        | _all(from_ranges(final.outcome_ranges), ShardState.OK)
        | _all(from_ranges(final.dead_ranges), ShardState.DEAD)
    )


def open_states(manifest: JobManifest, progress: Progress) -> dict[int, ShardState]:
    """The state of each shard of an open job."""
    count = len(manifest.shards)
    states = dict.fromkeys(range(count), ShardState.WAITING)
    for shards, state in (
        (progress.enqueued, ShardState.QUEUED),
        (progress.leased, ShardState.QUEUED),
        (progress.running, ShardState.RUNNING),
        (progress.done, ShardState.OK),
        (progress.dead, ShardState.DEAD),
    ):
        # Redis may name shards that the job does not have.
        states |= {shard: state for shard in shards if shard < count}
    return states


def _all(shards: Sequence[int], state: ShardState) -> dict[int, ShardState]:
    return dict.fromkeys(shards, state)
