"""Fetch and check a shard's items, and tell which cannot be predicted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fornada.errors import (
    BucketNotFoundError,
    InputError,
    IntegrityError,
    ObjectNotFoundError,
    StoreAccessError,
)
from fornada.formats.images import decode_image
from fornada.formats.items import Array, items_fit
from fornada.formats.npy import from_npy
from fornada.jobs.manifest import JobManifest, ShardInput
from fornada.jobs.outcome import ItemError
from fornada.jobs.store import JobStore
from fornada.records import ObjectRef


@dataclass(frozen=True, kw_only=True, slots=True)
class Items:
    """A shard's items.

    rows: item dtype [good items, *item_shape]; `positions` are their positions in the shard.
    """

    rows: Array
    positions: NDArray[np.int64]
    errors: list[ItemError]


def read_items(manifest: JobManifest, shard: ShardInput, *, jobs: JobStore) -> Items:
    """Fetch the items of `shard`.

    Raises:
        InputError: The whole shard is unusable: wrong shape, dtype or count.
        StoreError: An object is missing, changed, or cannot be reached.
    """
    object_count = shard.item_count if shard.format == "image" else 1
    if len(shard.objects) != object_count:
        raise InputError(
            f"a shard of {shard.item_count} items names {len(shard.objects)} objects of format "
            f"{shard.format}, which needs {object_count}; write its manifest again"
        )
    if shard.format == "image":
        return _read_images(manifest, shard, jobs=jobs)
    ref = shard.objects[0]
    array = from_npy(_fetch(ref, jobs=jobs), where=ref.key)
    want = tuple(manifest.item_shape)
    if array.ndim and items_fit(array.shape[1:], want):
        array = array.reshape(len(array), *want)
    if array.shape != (shard.item_count, *want) or array.dtype != np.dtype(manifest.item_dtype):
        raise InputError(
            f"{ref.key} holds {array.dtype} {array.shape}, and the job says {manifest.item_dtype} "
            f"{(shard.item_count, *want)}; submit the images again"
        )
    return _without_bad_values(array)


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


def _without_bad_values(array: Array) -> Items:
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
    images: list[Array] = []
    positions: list[int] = []
    errors: list[ItemError] = []
    for index, ref in enumerate(shard.objects):
        image = _read_image(manifest, ref, jobs=jobs)
        if isinstance(image, str):
            errors.append(ItemError(index=index, reason=image[:500]))
        else:
            images.append(image)
            positions.append(index)
    shape = (0, *manifest.item_shape)
    rows = np.stack(images) if images else np.empty(shape, manifest.item_dtype)
    return Items(rows=rows, positions=np.asarray(positions, dtype=np.int64), errors=errors)


def _read_image(manifest: JobManifest, ref: ObjectRef, *, jobs: JobStore) -> Array | str:
    """The image in the item dtype, or why it cannot be read."""
    try:
        data = _fetch(ref, jobs=jobs)
    except (IntegrityError, ObjectNotFoundError) as exc:
        return str(exc)
    try:
        image = decode_image(data, item_shape=manifest.item_shape, where=ref.key)
    except InputError as exc:
        return str(exc)
    return image.astype(manifest.item_dtype, copy=False)
