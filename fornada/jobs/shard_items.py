"""Fetch and check a shard's items, and tell which cannot be predicted."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fornada.errors import (
    BucketNotFoundError,
    InputError,
    IntegrityError,
    ObjectNotFoundError,
    PredictionError,
    StoreAccessError,
)
from fornada.formats.images import decode_image
from fornada.formats.items import Array, items_fit, non_finite_rows
from fornada.formats.npy import from_npy
from fornada.jobs.manifest import JobManifest, ShardInput
from fornada.jobs.store import JobStore
from fornada.records import ItemError, ObjectRef


@dataclass(frozen=True, kw_only=True, slots=True)
class Items:
    """A shard's items.

    rows: item dtype [good items, *item_shape]; `positions` are their positions in the shard.
    """

    rows: Array
    positions: NDArray[np.int64]
    errors: list[ItemError]

    def placed(
        self,
        outputs: NDArray[np.float32],
        errors: Mapping[int, str],
        *,
        item_count: int,
        class_count: int,
    ) -> tuple[NDArray[np.float32], list[ItemError]]:
        """The outputs in the shard's order, and all of its failed items, whose rows are NaN.

        Args:
            outputs: float32 [rows, outputs].
            errors: Number of a row that failed -> why.
            item_count: Items of the shard.
            class_count: Outputs of an item, as the job has it.

        Raises:
            PredictionError: The model gives another number of outputs.
        """
        if outputs.shape[1] != class_count:
            raise PredictionError(
                f"it gives {outputs.shape[1]} outputs an item, and has {class_count} classes; "
                "publish it with one class for each output"
            )
        failed = {**non_finite_rows(outputs), **errors}
        if len(self.rows) == item_count and not failed:
            return outputs, []
        placed = np.full((item_count, class_count), np.nan, np.float32)
        placed[self.positions] = outputs
        placed[self.positions[list(failed)]] = np.nan
        found = [
            ItemError(index=int(self.positions[row]), reason=why) for row, why in failed.items()
        ]
        return placed, sorted([*self.errors, *found], key=lambda error: error.index)


def read_items(manifest: JobManifest, shard: ShardInput, *, jobs: JobStore) -> Items:
    """Fetch the items of `shard`.

    Raises:
        InputError: The whole shard is unusable: wrong shape, dtype or count.
        StoreError: An object is missing, changed, or cannot be reached.
    """
    read = _read_images if shard.format == "image" else _read_array
    items = read(manifest, shard, jobs=jobs)
    known = {error.index for error in shard.item_errors}
    if not known:
        return items
    good = ~np.isin(items.positions, sorted(known))
    others = [error for error in items.errors if error.index not in known]
    return Items(
        rows=items.rows[good],
        positions=items.positions[good],
        errors=sorted([*others, *shard.item_errors], key=lambda error: error.index),
    )


def _read_array(manifest: JobManifest, shard: ShardInput, *, jobs: JobStore) -> Items:
    _check_count(shard, len(shard.objects), 1)
    ref = shard.objects[0]
    array = from_npy(_fetch(ref, jobs=jobs), where=ref.key)
    want = manifest.input.fixed_shape
    if array.ndim and items_fit(array.shape[1:], want):
        array = array.reshape(len(array), *want)
    count = shard.item_count
    if shard.selected is not None and array.ndim:
        # At least as many as are selected.
        count = max(len(array), shard.selected[-1][-1] + 1)
    if array.shape != (count, *want) or array.dtype != np.dtype(manifest.input.numpy_dtype):
        raise InputError(
            f"{ref.key} holds {array.dtype} {array.shape}, and the job says {manifest.input.dtype} "
            f"{(count, *want)}; submit the images again"
        )
    return good_items(array if shard.selected is None else array[shard.positions])


def _check_count(shard: ShardInput, have: int, want: int) -> None:
    if have != want:
        raise InputError(
            f"a shard of {shard.item_count} items names {have} objects of format "
            f"{shard.format}, which needs {want}; write its manifest again"
        )


def _fetch(ref: ObjectRef, *, jobs: JobStore) -> bytes:
    try:
        return jobs.read_checked(ref)
    except (BucketNotFoundError, StoreAccessError) as exc:
        if ref.bucket is None:
            raise
        # Our own bucket is the operator's concern; any other is part of the input.
        raise InputError(
            f"{ref.key} in bucket {ref.bucket!r} cannot be read ({exc}); let the workers read that "
            "bucket, or submit the images themselves"
        ) from exc


def good_items(array: Array) -> Items:
    """The items of an array; those with NaN or infinity are failed."""
    if array.dtype.kind != "f":
        return Items(rows=array, positions=np.arange(len(array)), errors=[])
    good = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    errors = [
        ItemError(index=int(index), reason="NaN or infinity among its values")
        for index in np.flatnonzero(~good)
    ]
    rows = array[good] if errors else array
    return Items(rows=rows, positions=np.flatnonzero(good), errors=errors)


def _read_images(manifest: JobManifest, shard: ShardInput, *, jobs: JobStore) -> Items:
    if shard.selected is None:
        _check_count(shard, len(shard.objects), shard.item_count)
    elif shard.selected[-1][-1] >= len(shard.objects):
        _check_count(shard, len(shard.objects), shard.selected[-1][-1] + 1)
    unreadable = {error.index for error in shard.item_errors}
    images: list[Array] = []
    positions: list[int] = []
    errors: list[ItemError] = []
    for index, position in enumerate(shard.positions):
        ref = shard.objects[position]
        if index in unreadable:
            continue
        image = _read_image(manifest, ref, jobs=jobs)
        if isinstance(image, str):
            errors.append(ItemError(index=index, reason=image[:500]))
        else:
            images.append(image)
            positions.append(index)
    shape = (0, *manifest.input.fixed_shape)
    rows = np.stack(images) if images else np.empty(shape, manifest.input.numpy_dtype)
    return Items(rows=rows, positions=np.asarray(positions, dtype=np.int64), errors=errors)


def _read_image(manifest: JobManifest, ref: ObjectRef, *, jobs: JobStore) -> Array | str:
    """The image in the item dtype, or why it cannot be read."""
    try:
        data = _fetch(ref, jobs=jobs)
    except (IntegrityError, ObjectNotFoundError) as exc:
        return str(exc)
    try:
        image = decode_image(data, item_shape=manifest.input.fixed_shape, where=ref.key)
    except InputError as exc:
        return str(exc)
    return image.astype(manifest.input.numpy_dtype, copy=False)
