"""Fetch a shard's items, check them, and say which of them cannot be predicted."""

from dataclasses import dataclass

import numpy as np

from fornada.arrays import Array, from_npy
from fornada.errors import BucketNotFoundError, InputError, StoreAccessError
from fornada.images import decode_image
from fornada.job_store import JobStore
from fornada.messages import ItemError, JobManifest, ObjectRef, ShardInput


@dataclass(frozen=True, kw_only=True, slots=True)
class Items:
    """A shard's items.

    rows: item dtype [good items, *item_shape]; `positions` says where each stood in the shard.
    """

    rows: Array
    positions: Array
    errors: list[ItemError]


def read_items(manifest: JobManifest, shard: ShardInput, *, jobs: JobStore) -> Items:
    """Fetch the items of `shard`.

    Raises:
        InputError: The whole shard is unusable: wrong shape, dtype or count.
        StoreError: An object is missing, changed, or cannot be reached.
    """
    if shard.format == "image":
        return _read_images(manifest, shard, jobs=jobs)
    ref = shard.objects[0]
    array = from_npy(_fetch(ref, jobs=jobs), where=ref.key)
    want = tuple(manifest.item_shape)
    if array.shape[1:] != want and array.ndim and array.shape[1:] in {(*want, 1), want[:-1]}:
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
        # Our own bucket is an operator's matter, somebody else's is part of the input.
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
        data = _fetch(ref, jobs=jobs)
        try:
            image = decode_image(data, item_shape=manifest.item_shape, where=ref.key)
        except InputError as exc:
            errors.append(ItemError(index=index, reason=str(exc)[:500]))
        else:
            images.append(image.astype(manifest.item_dtype, copy=False))
            positions.append(index)
    shape = (0, *manifest.item_shape)
    rows = np.stack(images) if images else np.empty(shape, manifest.item_dtype)
    return Items(rows=rows, positions=np.asarray(positions, dtype=np.int64), errors=errors)
