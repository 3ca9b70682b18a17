"""Fetch and check a shard's items, and tell which cannot be predicted."""

from collections.abc import Iterator

import numpy as np

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
from fornada.jobs.items import Items
from fornada.jobs.manifest import JobManifest, ShardInput
from fornada.jobs.store import JobStore
from fornada.records import ObjectRef
from fornada.tensors import text_of


def read_items(manifest: JobManifest, shard: ShardInput, *, jobs: JobStore) -> Items:
    """Fetch the items of `shard`.

    Raises:
        InputError: The whole shard is unusable: wrong shape, dtype or count.
        StoreError: An object is missing, changed, or cannot be reached.
    """
    read = _read_images if shard.format == "image" else _read_array
    return read(manifest, shard, jobs=jobs).without(shard.item_errors)


def _read_array(manifest: JobManifest, shard: ShardInput, *, jobs: JobStore) -> Items:
    _check_count(shard, len(shard.objects), 1)
    ref = shard.objects[0]
    array = from_npy(_fetch(ref, jobs=jobs), where=ref.key)
    tensor = manifest.input
    if array.ndim and not tensor.is_open and items_fit(array.shape[1:], tensor.fixed_shape):
        array = array.reshape(len(array), *tensor.fixed_shape)
    count = shard.item_count
    if shard.selected is not None and array.ndim:
        # At least as many as are selected.
        count = max(len(array), shard.selected[-1][-1] + 1)
    fits = array.shape[:1] == (count,) and tensor.takes(array.shape[1:])
    if not fits or array.dtype != np.dtype(tensor.numpy_dtype):
        raise InputError(
            f"{ref.key} holds {array.dtype} {array.shape}, and the job says {tensor.dtype} "
            f"{text_of([count, *tensor.shape])}; submit the items again"
        )
    rows = array if shard.selected is None else array[shard.positions]
    return Items.of_array(rows, tensor=tensor)


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


def _read_images(manifest: JobManifest, shard: ShardInput, *, jobs: JobStore) -> Items:
    if shard.selected is None:
        _check_count(shard, len(shard.objects), shard.item_count)
    elif shard.selected[-1][-1] >= len(shard.objects):
        _check_count(shard, len(shard.objects), shard.selected[-1][-1] + 1)
    return Items.of_singles(_images(manifest, shard, jobs=jobs), tensor=manifest.input)


def _images(
    manifest: JobManifest, shard: ShardInput, *, jobs: JobStore
) -> Iterator[tuple[int, Array | str]]:
    """Each item's position in the shard, and its image or why it cannot be read."""
    unreadable = {error.index for error in shard.item_errors}
    for index, position in enumerate(shard.positions):
        if index not in unreadable:
            yield index, _read_image(manifest, shard.objects[position], jobs=jobs)


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
