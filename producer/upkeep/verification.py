"""Compute shards of an ended job again and compare the results, byte by byte."""

import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from fornada.errors import JobFailedError, UsageError
from fornada.jobs.job_inputs import VERIFIES
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.store import JobStore
from fornada.ranges import from_ranges
from producer.results import stored_outputs
from producer.upkeep.retry import job_of_shards


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The first value that differs."""

    shard: int
    #: Running number of the item in the job.
    item: int
    #: Name of the number: a class, a value, or its place in the item.
    column: str
    recorded: float
    recomputed: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """The result of computing shards again."""

    job_id: str
    #: The job that computed them.
    verification_id: str
    shards: int
    items: int
    shards_differing: int
    first_difference: Difference | None
    #: Engine and tile then and now, if they differ.
    engines: tuple[str, str] | None

    @property
    def same(self) -> bool:
        """Whether every byte is the same."""
        return not self.shards_differing


def verification_of(manifest: JobManifest, *, jobs: JobStore, sample: int) -> JobManifest:
    """A new job of `sample` shards of an ended job, the same ones each time.

    Shards that crashed their workers are left out: they would again.

    Raises:
        UsageError: The job has not ended, has no such shard, or `sample` is less than 1.
        IntegrityError: Its outcomes are not those that it ended with.
    """
    if sample < 1:
        raise UsageError(f"sample is {sample}; give a number of shards, at least 1")
    job_id = manifest.job_id
    final = jobs.final(job_id)
    if final is None:
        raise UsageError(f"job {job_id} has not ended; wait for it first")
    jobs.check_outcomes(final)
    ok = sorted(set(from_ranges(final.outcome_ranges)) - set(from_ranges(final.dead_ranges)))
    # Seeded: the same shards each time.
    random.Random(job_id).shuffle(ok)  # noqa: S311
    outcomes = (jobs.counted_outcome(final, shard) for shard in ok)
    chosen = islice((o.shard for o in outcomes if o is not None and not o.isolated), sample)
    shards = sorted(chosen)
    if not shards:
        raise UsageError(f"job {job_id} ended {final.state} without a shard to run again")
    return job_of_shards(
        manifest,
        shards,
        jobs=jobs,
        # A new id: under an existing one nothing would be computed.
        job_id=f"{job_id[:100]}-verify-{secrets.token_hex(4)}",
        tags={VERIFIES: job_id},
    )


def compare(manifest: JobManifest, again: JobManifest, *, jobs: JobStore) -> Verification:
    """Compare the outcomes of an ended verification with those of its job.

    Raises:
        JobFailedError: A shard of the verification has no ok outcome.
        IntegrityError: Stored bytes are not those that were committed.
    """
    pairs = list(_pairs(manifest, again, jobs))
    differing = [
        (shard, recorded, recomputed)
        for shard, recorded, recomputed in pairs
        if _digest(recorded) != _digest(recomputed)
    ]
    engines = {(_engine(recorded), _engine(recomputed)) for _, recorded, recomputed in pairs}
    return Verification(
        job_id=manifest.job_id,
        verification_id=again.job_id,
        shards=len(pairs),
        items=again.item_count,
        shards_differing=len(differing),
        first_difference=_first_difference(again, *differing[0], jobs) if differing else None,
        engines=next(((then, now) for then, now in sorted(engines) if then != now), None),
    )


def _pairs(
    manifest: JobManifest, again: JobManifest, jobs: JobStore
) -> Iterator[tuple[int, ShardOutcome, ShardOutcome]]:
    """Each shard of `again`, with its recorded and its new outcome."""
    shard_of = {first: shard for shard, first in enumerate(manifest.shards.first_items)}
    for shard, first in enumerate(again.shards.first_items):
        recorded = jobs.outcome(manifest.job_id, shard_of[first])
        recomputed = jobs.outcome(again.job_id, shard)
        if recorded is None or recomputed is None or recomputed.status != "ok":
            why = recomputed.detail if recomputed is not None else "it has no outcome"
            raise JobFailedError(
                f"job {again.job_id} could not run shard {shard} again ({why}); see "
                f"`fornada jobs show {again.job_id}`"
            )
        yield shard, recorded, recomputed


def _first_difference(
    again: JobManifest,
    shard: int,
    recorded: ShardOutcome,
    recomputed: ShardOutcome,
    jobs: JobStore,
) -> Difference:
    item_count = recorded.item_count
    then, now = (
        stored_outputs(outcome, again.output, item_count=item_count, jobs=jobs).reshape(
            item_count, -1
        )
        for outcome in (recorded, recomputed)
    )
    # As bits: a NaN equals itself, and 0.0 is not -0.0.
    position, number = np.argwhere(then.view(np.uint32) != now.view(np.uint32))[0]
    return Difference(
        shard=recorded.shard,
        item=again.shards.first_items[shard] + again.shards[shard].positions[int(position)],
        column=again.output.columns[number],
        recorded=float(then[position, number]),
        recomputed=float(now[position, number]),
    )


def _digest(outcome: ShardOutcome) -> str | None:
    return outcome.data.sha256 if outcome.data else None


def _engine(outcome: ShardOutcome) -> str:
    return f"{outcome.engine}, {outcome.tile_items} items a call"
