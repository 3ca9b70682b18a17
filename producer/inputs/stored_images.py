"""Objects that are in the store already become shards in place."""

from collections.abc import Iterable
from itertools import groupby
from typing import Literal

import numpy as np

from fornada.errors import InputError
from fornada.formats.images import IMAGE_SUFFIXES, image_frame
from fornada.formats.items import item_size_bytes
from fornada.formats.npy import MAX_HEADER_BYTES
from fornada.jobs.manifest import ShardInput
from fornada.parallel import in_parallel
from fornada.records import ObjectRef
from fornada.storage.interface import ObjectInfo, ObjectStore
from producer.inputs.array_header import ArrayHeader
from producer.inputs.interface import Signature, StoredImages, is_litter


def shards_of(
    stored: StoredImages,
    *,
    objects: ObjectStore,
    signature: Signature,
    items_per_shard: int,
    max_shard_bytes: int,
    strict: bool = False,
) -> list[ShardInput]:
    """Shards over the stored objects, in key order; nothing is copied.

    A `.npy` object is a shard by itself: item dtype [items, *item_shape], give or take a last axis
    of 1. PNG and JPEG objects are one item each and share shards. So is any other object among
    them, which fails in the worker; hidden ones are never looked at. Sizes and ETags are recorded,
    so that a worker notices an object that changed after submission.

    Args:
        stored: Which objects.
        objects: The store.
        signature: What the model takes.
        items_per_shard: Images in a shard, at most.
        max_shard_bytes: Bytes of a shard, stored or decoded, at most; it is in memory whole.
        strict: Refuse an object of another kind.

    Raises:
        InputError: There are no objects, one does not fit or is too large, or `strict` or without
            an image, one is of another kind.
        StoreError: The store cannot be reached or refuses.
    """
    infos = _listed(stored, objects)
    has_images = any(info.key.lower().endswith(IMAGE_SUFFIXES) for info in infos)
    for info in infos:
        if strict or not has_images:
            _check_kind(info, stored)
        _check_object(info, stored, signature, max_shard_bytes)
    arrays = [info for info in infos if _kind(info.key) == "npy"]

    def count_items(info: ObjectInfo) -> int:
        head = objects.get(info.key, bucket=stored.bucket, max_bytes=MAX_HEADER_BYTES).data
        header = ArrayHeader.of_npy(head, where=_where(info, stored))
        header.check_size(info.size_bytes)
        return _checked_items(header, signature)

    keys = [info.key for info in arrays]
    item_counts = dict(zip(keys, in_parallel(count_items, arrays), strict=True))
    item_bytes = item_size_bytes(signature.item_shape, signature.item_dtype)
    max_items = max(1, min(items_per_shard, max_shard_bytes // item_bytes))
    return [
        ShardInput(
            format=_kind(part[0].key),
            objects=[_ref(info, stored) for info in part],
            item_count=item_counts.get(part[0].key, len(part)),
        )
        for part in _parts(infos, max_items=max_items, max_bytes=max_shard_bytes)
    ]


def _listed(stored: StoredImages, objects: ObjectStore) -> list[ObjectInfo]:
    infos = [
        info
        for info in objects.list(stored.prefix, bucket=stored.bucket)
        # Consoles show a folder by means of an empty object.
        if not (info.key.endswith("/") and info.size_bytes == 0)
        and not is_litter(info.key.rpartition("/")[2])
    ]
    if not infos:
        raise InputError(f"{stored} has no objects; check bucket and prefix")
    return infos


def _kind(key: str) -> Literal["npy", "image"]:
    return "npy" if key.lower().endswith(".npy") else "image"


def _check_kind(info: ObjectInfo, stored: StoredImages) -> None:
    where = _where(info, stored)
    if not info.key.lower().endswith((".npy", *IMAGE_SUFFIXES)):
        raise InputError(
            f"{where} is neither .npy nor PNG nor JPEG by its name; move it away, or give a "
            "prefix without it"
        )


def _check_object(
    info: ObjectInfo, stored: StoredImages, signature: Signature, max_shard_bytes: int
) -> None:
    where = _where(info, stored)
    if info.size_bytes > max_shard_bytes:
        raise InputError(
            f"{where} has {info.size_bytes} bytes, and a shard takes {max_shard_bytes}; split it "
            "into smaller objects, or raise FORNADA_MAX_SHARD_BYTES"
        )
    if _kind(info.key) == "image":
        image_frame(signature.item_shape, where=where)


def _checked_items(header: ArrayHeader, signature: Signature) -> int:
    """How many items the array holds, which are what the model takes."""
    header.check_items(signature.item_shape, model=signature.model)
    if header.dtype != np.dtype(signature.item_dtype):
        raise InputError(
            f"{header.where}: dtype {header.dtype}, but {signature.model} takes "
            f"{signature.item_dtype}, and stored objects are used as they are; write it again as "
            f"{signature.item_dtype}"
        )
    return header.shape[0]


def _parts(
    infos: Iterable[ObjectInfo], *, max_items: int, max_bytes: int
) -> list[list[ObjectInfo]]:
    """The objects of each shard: an array, or a run of images."""
    parts: list[list[ObjectInfo]] = []
    for kind, run in groupby(infos, key=lambda info: _kind(info.key)):
        limit = 1 if kind == "npy" else max_items
        part: list[ObjectInfo] = []
        part_bytes = 0
        for info in run:
            if part and (len(part) == limit or part_bytes + info.size_bytes > max_bytes):
                parts.append(part)
                part, part_bytes = [], 0
            part.append(info)
            part_bytes += info.size_bytes
        parts.append(part)
    return parts


def _ref(info: ObjectInfo, stored: StoredImages) -> ObjectRef:
    return ObjectRef(
        key=info.key, bucket=stored.bucket, size_bytes=info.size_bytes, etag=info.etag or None
    )


def _where(info: ObjectInfo, stored: StoredImages) -> str:
    return f"s3://{stored.bucket}/{info.key}"
