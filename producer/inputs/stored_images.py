"""Objects that exist in the store already, read where they lie: `s3://bucket/prefix`."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, Self

import numpy as np

from fornada.errors import InputError, UsageError
from fornada.formats.images import IMAGE_SUFFIXES, image_frame
from fornada.formats.items import item_size_bytes, items_fit
from fornada.formats.npy import MAX_HEADER_BYTES, read_npy_header
from fornada.jobs.manifest import ShardInput
from fornada.parallel import in_parallel
from fornada.records import ObjectRef
from fornada.storage.interface import ObjectInfo, ObjectStore

_URL = re.compile(r"s3://(?P<bucket>[^/]+)(?:/(?P<prefix>.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredImages:
    """All objects of a bucket whose keys begin with a prefix; end it in `/` to mean a folder."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse `s3://bucket/prefix`; without a prefix it is the whole bucket.

        Raises:
            UsageError: It is no such URL.
        """
        match = _URL.fullmatch(url)
        if match is None:
            raise UsageError(f"{url!r} does not name stored objects; write s3://bucket/prefix")
        return cls(bucket=match["bucket"], prefix=match["prefix"] or "")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


def shards_of(
    stored: StoredImages,
    *,
    objects: ObjectStore,
    item_shape: Sequence[int],
    item_dtype: str,
    model: str,
    items_per_shard: int,
    max_shard_bytes: int,
) -> list[ShardInput]:
    """Shards over the stored objects, in key order; nothing is copied.

    A `.npy` object is a shard by itself: `item_dtype` [items, *item_shape], give or take a last
    axis of 1. PNG and JPEG objects are one item each, and share shards. Sizes and ETags are
    recorded, so that a worker notices an object that was changed after submission.

    Args:
        stored: Which objects.
        objects: The store.
        item_shape: Shape of one item, as the model takes it.
        item_dtype: dtype of the items, as the model takes them.
        model: The model's name, for error messages.
        items_per_shard: Most images in a shard.
        max_shard_bytes: Most bytes of a shard, stored or decoded; it is in memory whole.

    Raises:
        InputError: There are no objects, or one is of another kind, does not fit or is too large.
        StoreError: The store cannot be reached or refuses.
    """
    infos = _listed(stored, objects)
    for info in infos:
        _check_object(info, stored, item_shape, max_shard_bytes)
    arrays = [info for info in infos if _kind(info.key) == "npy"]

    def read_items(number: int) -> int:
        info = arrays[number]
        head = objects.get(info.key, bucket=stored.bucket, max_bytes=MAX_HEADER_BYTES).data
        return _npy_items(
            info.size_bytes,
            head,
            where=_where(info, stored),
            item_shape=item_shape,
            item_dtype=item_dtype,
            model=model,
        )

    read = in_parallel(read_items, range(len(arrays)))
    item_counts = dict(zip((info.key for info in arrays), read, strict=True))
    item_bytes = item_size_bytes(item_shape, item_dtype)
    most_items = max(1, min(items_per_shard, max_shard_bytes // item_bytes))
    parts = _parts(infos, most_items=most_items, most_bytes=max_shard_bytes)
    return [
        ShardInput(
            format=_kind(part[0].key),
            objects=[_ref(info, stored) for info in part],
            item_count=item_counts.get(part[0].key, len(part)),
        )
        for part in parts
    ]


def _listed(stored: StoredImages, objects: ObjectStore) -> list[ObjectInfo]:
    infos = [
        info
        for info in objects.list(stored.prefix, bucket=stored.bucket)
        # Consoles make empty objects to show a folder.
        if not (info.key.endswith("/") and info.size_bytes == 0)
    ]
    if not infos:
        raise InputError(f"{stored} has no objects; check bucket and prefix")
    return infos


def _kind(key: str) -> Literal["npy", "image"]:
    return "npy" if key.lower().endswith(".npy") else "image"


def _check_object(
    info: ObjectInfo, stored: StoredImages, item_shape: Sequence[int], max_shard_bytes: int
) -> None:
    where = _where(info, stored)
    if not info.key.lower().endswith((".npy", *IMAGE_SUFFIXES)):
        raise InputError(
            f"{where} is neither .npy nor PNG nor JPEG by its name; move it away, or give a "
            "prefix that leaves it out"
        )
    if info.size_bytes > max_shard_bytes:
        raise InputError(
            f"{where} has {info.size_bytes} bytes, and a shard takes {max_shard_bytes}; split it "
            "into smaller objects, or raise FORNADA_MAX_SHARD_BYTES"
        )
    if _kind(info.key) == "image":
        image_frame(item_shape, where=where)


def _npy_items(
    size_bytes: int,
    head: bytes,
    *,
    where: str,
    item_shape: Sequence[int],
    item_dtype: str,
    model: str,
) -> int:
    """Check an array's size and header; return how many items it holds."""
    shape, dtype, header_bytes = read_npy_header(head, where=where)
    claimed_bytes = header_bytes + math.prod(shape) * dtype.itemsize
    if claimed_bytes != size_bytes:
        raise InputError(
            f"{where} claims {claimed_bytes} bytes (shape {shape}, {dtype}) and has {size_bytes}; "
            "it is truncated or damaged, write it again"
        )
    if not shape or 0 in shape:
        raise InputError(f"{where}: the array of shape {shape} is empty; give at least one item")
    if not items_fit(shape[1:], item_shape):
        raise InputError(
            f"{where}: items of shape {shape[1:]}, but {model} takes {tuple(item_shape)}; resize "
            "before you submit"
        )
    if dtype != np.dtype(item_dtype):
        raise InputError(
            f"{where}: dtype {dtype}, but {model} takes {item_dtype}, and stored objects are used "
            f"as they are; write it again as {item_dtype}"
        )
    return shape[0]


def _parts(
    infos: Iterable[ObjectInfo], *, most_items: int, most_bytes: int
) -> list[list[ObjectInfo]]:
    """What makes a shard each: an array, or a run of images."""
    parts: list[list[ObjectInfo]] = []
    for kind, run in groupby(infos, key=lambda info: _kind(info.key)):
        most = 1 if kind == "npy" else most_items
        part: list[ObjectInfo] = []
        part_bytes = 0
        for info in run:
            if part and (len(part) == most or part_bytes + info.size_bytes > most_bytes):
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
