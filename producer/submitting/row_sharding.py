"""Rows of blocks put together into shards that are bounded in items and bytes."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError
from fornada.formats.fitting import fit_rows
from fornada.formats.images import decode_item
from fornada.formats.rows import Rows, blank_rows
from fornada.formats.tensor_file import Column, needs_tensor_file
from fornada.records import ItemError
from producer.inputs.interface import ItemBlock, Signature
from producer.submitting.item_sizes import output_bytes, row_bytes
from producer.submitting.shards import ArrayShard, ShardLimits, TensorShard


class RowsOfShard:
    """A shard that is being filled."""

    def __init__(self, signature: Signature, limits: ShardLimits, files: frozenset[str]) -> None:
        self._signature = signature
        self._files = files
        self._limits = limits
        #: What files become is several times as large.
        self._most_bytes = limits.archive_bytes if files else limits.file_bytes
        self._parts: list[ItemBlock] = []
        self._taken_bytes = 0
        self._given_bytes = 0
        self.item_count = 0

    def room_for(self, rows: "MeasuredRows") -> int:
        """How many of the rows it takes; at least one if it is empty."""
        count = min(self._limits.item_count - self.item_count, len(rows.sizes))
        if rows.output_bytes:
            left_bytes = self._limits.file_bytes - self._given_bytes
            count = min(count, left_bytes // rows.output_bytes)
        left_bytes = self._most_bytes - self._taken_bytes
        if count > 0 and int(rows.sizes[:count].sum()) > left_bytes:
            count = int(np.searchsorted(np.cumsum(rows.sizes[:count]), left_bytes, "right"))
        return max(0 if self._parts else 1, count)

    def add(self, rows: "MeasuredRows") -> None:
        """Add rows, which it takes."""
        self._parts.append(rows.block)
        self.item_count += len(rows.sizes)
        self._taken_bytes += int(rows.sizes.sum())
        self._given_bytes += len(rows.sizes) * rows.output_bytes

    def shard(self) -> ArrayShard | TensorShard:
        """The shard.

        Raises:
            InputError: Some items have ids, and some have none.
        """
        parts, inputs = self._parts, self._signature.inputs
        with_ids = [part.item_ids for part in parts if part.item_ids is not None]
        if with_ids and len(with_ids) != len(parts):
            raise InputError(
                f"{parts[0].where}: some items have item ids and some have none; give ids to all"
            )
        item_ids = [item_id for ids in with_ids for item_id in ids] if with_ids else None
        errors, before = [], 0
        for part in parts:
            errors += [
                ItemError(index=before + n, reason=part.errors[n]) for n in sorted(part.errors)
            ]
            before += len(part.rows)
        if not needs_tensor_file(inputs):
            images = Rows.joined([part.rows for part in parts]).only
            return ArrayShard(images=images, item_ids=item_ids, errors=errors)
        columns = [
            self._column(at, is_open=tensor.is_open and tensor.name not in self._files)
            for at, tensor in enumerate(inputs)
        ]
        return TensorShard(
            columns=columns, inputs=inputs, files=self._files, item_ids=item_ids, errors=errors
        )

    def _column(self, at: int, *, is_open: bool) -> Column:
        arrays = [part.rows.arrays[at] for part in self._parts]
        if is_open:
            return [item for array in arrays for item in array]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


@dataclass(frozen=True, slots=True)
class MeasuredRows:
    """A block, and how many bytes its items take and give."""

    block: ItemBlock
    #: Bytes of each item.
    sizes: NDArray[np.int64]
    #: Of what the model gives for one.
    output_bytes: int

    def part(self, start: int, stop: int) -> "MeasuredRows":
        """Some of the items."""
        if start == 0 and stop >= len(self.sizes):
            return self
        block = self.block
        part = ItemBlock(
            rows=block.rows[start:stop],
            item_ids=None if block.item_ids is None else block.item_ids[start:stop],
            where=block.where,
            errors={n - start: why for n, why in block.errors.items() if start <= n < stop},
            files=block.files,
        )
        return MeasuredRows(part, self.sizes[start:stop], self.output_bytes)


def measured_rows(block: ItemBlock, signature: Signature, limits: ShardLimits) -> MeasuredRows:
    """The items of a block as the model takes them, each of which fits into a shard.

    Raises:
        InputError: It does not fit the model, or has another number of ids.
    """
    if block.item_ids is not None and len(block.item_ids) != len(block.rows):
        raise InputError(
            f"{block.where}: {len(block.item_ids)} item ids for {len(block.rows)} items; give "
            "one id an item, or none"
        )
    fits = all(
        tensor.name in block.files
        or (array.dtype == np.dtype(tensor.numpy_dtype) and tensor.takes(array.shape[1:]))
        for array, tensor in zip(block.rows.arrays, signature.inputs, strict=True)
    )
    if not fits:
        rows, errors = fit_rows(
            block.rows, signature.inputs, model=signature.model, where=block.where
        )
        block = replace(block, rows=rows, errors={**errors, **block.errors})
    sizes = row_bytes(block.rows)
    if sizes.max(initial=0) > limits.file_bytes:
        block = _without(block, sizes, signature, limits)
        sizes = row_bytes(block.rows)
    return MeasuredRows(block, sizes, output_bytes(block, signature))


def _without(
    block: ItemBlock, sizes: NDArray[np.int64], signature: Signature, limits: ShardLimits
) -> ItemBlock:
    """The block with blank items in place of those that are too large."""
    too_large = sizes > limits.file_bytes
    why = {
        int(n): f"it has {sizes[n]} bytes, and a shard takes {limits.file_bytes}; make it smaller, "
        "or raise FORNADA_MAX_SHARD_BYTES"
        for n in np.flatnonzero(too_large)
    }
    if too_large.all():
        shapes = [[side or 1 for side in tensor.shape] for tensor in signature.inputs]
        dtypes = [tensor.numpy_dtype for tensor in signature.inputs]
        rows = blank_rows(len(block.rows), shapes, dtypes)
    else:
        # It is their texts that are large.
        rows = Rows(
            *(array.copy() if array.dtype.hasobject else array for array in block.rows.arrays)
        )
        for array in rows.arrays:
            if array.dtype.hasobject:
                array[too_large] = b""
    return replace(block, rows=rows, errors={**why, **block.errors})


def unreadable(block: ItemBlock, signature: Signature) -> dict[int, str]:
    """Number of an item with an image file that is none -> why."""
    found: dict[int, str] = {}
    for array, tensor in zip(block.rows.arrays, signature.inputs, strict=True):
        for number, data in enumerate(array.tolist() if tensor.name in block.files else []):
            try:
                decode_item(data, taken=tensor, where=f"the image in {tensor.name!r}")
            except InputError as exc:
                found.setdefault(number, str(exc))
    return found
