"""Compute shards of an ended job again and compare the results, byte by byte."""

import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from fornada.errors import JobFailedError, JobStateError, UsageError
from fornada.formats.items import Array
from fornada.formats.tensor_file import Column
from fornada.jobs.job_inputs import VERIFIES
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.store import JobStore
from fornada.ranges import from_ranges
from fornada.tensors import OutputTensor, text_of
from producer.upkeep.retry import job_of_shards


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The first value that differs."""

    shard: int
    #: Running number of the item in the job.
    item: int
    #: Name of the output.
    output: str
    #: Name of the value in it: a class, a value, or its place in the item, `[3, 4]`; `shape` if
    #: that differs.
    column: str
    recorded: float | str
    recomputed: float | str


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
        JobStateError: The job has not ended, or has no such shard.
        UsageError: `sample` is less than 1.
        IntegrityError: Its outcomes are not those that it ended with.
    """
    if sample < 1:
        raise UsageError(f"sample is {sample}; give a number of shards, at least 1")
    job_id = manifest.job_id
    final = jobs.end_of(manifest)
    if final is None:
        raise JobStateError(f"job {job_id} has not ended; wait for it first")
    jobs.check_outcomes(final)
    ok = sorted(set(from_ranges(final.outcome_ranges)) - set(from_ranges(final.dead_ranges)))
    # Seeded: the same shards each time.
    random.Random(job_id).shuffle(ok)  # noqa: S311
    outcomes = (jobs.counted_outcome(final, shard) for shard in ok)
    chosen = islice((o.shard for o in outcomes if o is not None and not o.isolated), sample)
    shards = sorted(chosen)
    if not shards:
        raise JobStateError(f"job {job_id} ended {final.state} without a shard to run again")
    # Its end concerns who asked, not those who wait for the job.
    return job_of_shards(
        manifest.model_copy(update={"webhook": None}),
        shards,
        jobs=jobs,
        # A new id: under an existing one nothing would be computed.
        job_id=f"{_prefix(job_id)}{secrets.token_hex(4)}",
        tags={VERIFIES: job_id},
    )


def is_verification(job_id: str, *, of: str) -> bool:
    """Whether a job, by its id, computes shards of job `of` again."""
    return job_id.startswith(_prefix(of))


def _prefix(job_id: str) -> str:
    return f"{job_id[:100]}-verify-"


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
                f"the shards of job {again.job_id}"
            )
        yield shard, recorded, recomputed


def _first_difference(
    again: JobManifest,
    shard: int,
    recorded: ShardOutcome,
    recomputed: ShardOutcome,
    jobs: JobStore,
) -> Difference | None:
    then, now = (jobs.outputs(outcome, again.gives) for outcome in (recorded, recomputed))
    for output, before, after in zip(again.gives, then, now, strict=True):
        for position in range(recorded.item_count):
            found = _differing(_item(before, position), _item(after, position))
            if found is not None:
                place, was, becomes = found
                return Difference(
                    shard=recorded.shard,
                    item=again.shards.first_items[shard] + again.shards[shard].positions[position],
                    output=output.name,
                    column=place if isinstance(place, str) else _column(output, place),
                    recorded=was,
                    recomputed=becomes,
                )
    # Files of the same values may differ by what wrote them.
    return None


def _differing(then: Array, now: Array) -> tuple[str | list[int], Any, Any] | None:
    """Where the values of one item, [1, *shape], differ first, and both values."""
    if then.shape != now.shape:
        was, becomes = (text_of(list(each.shape[1:])) for each in (then, now))
        return "shape", was, becomes
    if then.dtype.hasobject:
        differs = then != now
    else:
        # As bits: a NaN equals itself, and 0.0 is not -0.0.
        bits = f"u{then.dtype.itemsize}"
        differs = np.ascontiguousarray(then).view(bits) != np.ascontiguousarray(now).view(bits)
    places = np.argwhere(differs)
    if not len(places):
        return None
    place = places[0].tolist()
    return place[1:], _plain(then[tuple(place)]), _plain(now[tuple(place)])


def _item(column: Column, position: int) -> Array:
    """[1, *shape], also where that is one number."""
    one = column[position : position + 1]
    return one[0][np.newaxis] if isinstance(one, list) else one


def _column(output: OutputTensor, place: list[int]) -> str:
    if output.is_open or output.kind == "tensor":
        return text_of([*place])
    return output.columns[int(np.ravel_multi_index(place, output.fixed_shape)) if place else 0]


def _plain(value: Any) -> float | str:
    return value.decode() if isinstance(value, bytes) else value.item()


def _digest(outcome: ShardOutcome) -> str | None:
    return outcome.data.sha256 if outcome.data else None


def _engine(outcome: ShardOutcome) -> str:
    """`keras 3.15, 64 items a call`."""
    tiles = [f"{count} of shape {shape}" for shape, count in (outcome.tiles or {}).items()]
    tile = ", ".join(tiles) if outcome.tile_items is None else outcome.tile_items
    return f"{outcome.engine}, {tile} items a call" if tile else f"{outcome.engine}"
