"""Reads the results of a job's shards from the store."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from fornada.errors import IntegrityError
from fornada.formats.tensor_file import Column
from fornada.jobs.items import blank_column
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.store import JobStore
from fornada.jobs.summary import misfit
from fornada.jobs.table_items import row_ids
from fornada.parallel import in_parallel_within
from producer.item_results import ShardResult

#: Most bytes of results that are read ahead; a shard of more is read alone.
_READ_AHEAD_BYTES = 64 * 1024 * 1024


class Found(NamedTuple):
    """A shard, and its outcome if it has one that counts."""

    shard: int
    outcome: ShardOutcome | None
    #: Why it has none.
    why_missing: str = "its outcome is gone"


class ShardReader:
    """Reads a job's shards: outputs, ids and reasons."""

    def __init__(self, manifest: JobManifest, *, jobs: JobStore) -> None:
        self._manifest = manifest
        self._jobs = jobs
        self._starts = manifest.shards.starts

    def results(self, shards: Iterable[Found]) -> Iterator[tuple[ShardOutcome | None, ShardResult]]:
        """The outcome and the results of each shard, in order; small ones are read ahead.

        Raises:
            IntegrityError: Stored bytes are not those of the outcome, or hold something else.
        """

        def read(found: Found) -> tuple[ShardOutcome | None, ShardResult]:
            return found.outcome, self._result(found)

        if len(self._manifest.shards) == 1:
            return map(read, shards)
        return in_parallel_within(
            read,
            shards,
            size_bytes=self._size_bytes,
            most_bytes=_READ_AHEAD_BYTES,
        )

    def item_ids(self, shard: int) -> list[str]:
        """The ids of a shard's items; their numbers in the job, or keys, if they were given none.

        Raises:
            IntegrityError: What is stored is no ids, or not of these items.
        """
        spec = self._manifest.shards[shard]
        if spec.item_ids is not None:
            return _parse_ids(
                self._jobs.inputs.read(self._manifest, spec.item_ids),
                positions=spec.positions,
                are_all=spec.selected is None,
                where=spec.item_ids.key,
            )
        if spec.format == "parquet":
            fetch = partial(self._jobs.inputs.read, self._manifest)
            ids = row_ids(self._manifest, spec, fetch=fetch)
            if ids is not None:
                return ids
        if spec.format == "image":
            return [spec.objects[position].key for position in spec.positions]
        first_number = self._starts[shard] if spec.first_item is None else spec.first_item
        return [str(first_number + position) for position in spec.positions]

    def errors(self, found: Found) -> dict[int, str]:
        """Position in the shard -> why the item has no result.

        Raises:
            IntegrityError: The outcome is of other items.
        """
        outcome, item_count = found.outcome, self._manifest.shards.item_counts[found.shard]
        if outcome is None:
            return dict.fromkeys(range(item_count), f"not predicted: {found.why_missing}")
        if outcome.status == "dead":
            reason = f"shard {outcome.shard} is dead ({outcome.reason}): {outcome.detail}"
            return dict.fromkeys(range(item_count), reason)
        _check_fits(outcome, item_count)
        return {error.index: error.reason for error in outcome.item_errors}

    def _result(self, found: Found) -> ShardResult:
        shard, outcome = found.shard, found.outcome
        item_count, gives = self._manifest.shards.item_counts[shard], self._manifest.gives
        if outcome is not None and outcome.status == "ok":
            columns = self._columns(outcome, item_count)
        else:
            columns = [blank_column(output, item_count) for output in gives]
        return ShardResult(
            shard=shard,
            first_item=self._starts[shard],
            gives=gives,
            outputs=dict(zip((output.name for output in gives), columns, strict=True)),
            item_ids=self.item_ids(shard),
            errors=self.errors(found),
        )

    def _columns(self, outcome: ShardOutcome, item_count: int) -> list[Column]:
        _check_fits(outcome, item_count)
        return self._jobs.outputs(outcome, self._manifest.gives)

    def _size_bytes(self, found: Found) -> int:
        """Of its outputs, or of what stands for them."""
        if found.outcome is not None and found.outcome.data is not None:
            return found.outcome.data.size_bytes
        item_bytes = sum(
            math.prod(output.fixed_shape) * np.dtype(output.numpy_dtype).itemsize
            for output in self._manifest.gives
        )
        return item_bytes * self._manifest.shards.item_counts[found.shard]


def _check_fits(outcome: ShardOutcome, item_count: int) -> None:
    why = misfit(outcome, item_count)
    if why is not None:
        raise IntegrityError(why)


def _parse_ids(data: bytes, *, positions: Sequence[int], are_all: bool, where: str) -> list[str]:
    try:
        item_ids = json.loads(data)
    except (ValueError, RecursionError):
        item_ids = None
    if (
        not isinstance(item_ids, list)
        or len(item_ids) != (len(positions) if are_all else max(len(item_ids), positions[-1] + 1))
        or not all(isinstance(item_id, str) for item_id in item_ids)
    ):
        raise IntegrityError(
            f"{where} is not a JSON array of {positions[-1] + 1} item ids as strings; submit again"
        )
    return [item_ids[position] for position in positions]
