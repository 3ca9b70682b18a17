"""Cut a stream of items into shards of one size, holding one shard at a time."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import cast

import numpy as np

from fornada.errors import InputError, UsageError
from fornada.formats.items import Array, check_items, item_size_bytes
from fornada.jobs.items import filled, not_finite
from fornada.records import ItemError
from producer.inputs.interface import Block, ImageFile, ItemBlock, Signature
from producer.submitting.file_sharding import cut_files
from producer.submitting.shards import ArrayShard, Shard, ShardLimits


def items_per_shard_for(signature: Signature, *, items_per_shard: int, max_shard_bytes: int) -> int:
    """`items_per_shard`, or fewer if no more fit into `max_shard_bytes`.

    Raises:
        InputError: Not even one item fits.
        UsageError: `items_per_shard` is not a whole number, or less than 1.
    """
    if not isinstance(items_per_shard, int) or items_per_shard < 1:
        raise UsageError(f"items_per_shard is {items_per_shard}; give a whole number, at least 1")
    item_bytes = item_size_bytes(signature.item_shape, signature.item_dtype)
    if item_bytes > max_shard_bytes:
        raise InputError(
            f"one item of {signature.model} has {item_bytes} bytes, and a shard takes "
            f"{max_shard_bytes}; raise FORNADA_MAX_SHARD_BYTES"
        )
    return min(items_per_shard, max_shard_bytes // item_bytes)


def cut(
    blocks: Iterable[Block],
    *,
    signature: Signature,
    limits: ShardLimits,
    strict: bool,
) -> Iterator[Shard]:
    """Shards of the items, in the order of the blocks: arrays as rows, image files as they are.

    Raises:
        InputError: A block does not fit the signature, there is no item at all, or `strict` and an
            item is bad.
    """
    number = 0
    for are_files, run in groupby(blocks, key=lambda block: isinstance(block, ImageFile)):
        shards: Iterator[Shard]
        if are_files:
            files = cast(Iterator[ImageFile], run)
            shards = cut_files(
                files, first_number=number, signature=signature, limits=limits, strict=strict
            )
        else:
            shards = _cut_rows(
                cast(Iterator[ItemBlock], run),
                signature=signature,
                limits=limits,
                strict=strict,
            )
        for shard in shards:
            yield shard
            number += shard.item_count
    if not number:
        raise InputError("there are no items; give at least one")


def _cut_rows(
    blocks: Iterable[ItemBlock], *, signature: Signature, limits: ShardLimits, strict: bool
) -> Iterator[ArrayShard]:
    """Shards of rows of one shape, as large as the limits allow; the last one is shorter."""
    held: list[ItemBlock] = []
    held_count = 0
    for block in blocks:
        images = check_items(
            block.images,
            item_shape=signature.input.shape,
            item_dtype=signature.item_dtype,
            model=signature.model,
            where=block.where,
        )
        _check_ids(block)
        if strict:
            _refuse_bad_items(block, images, signature)
        if held and held[-1].images.shape[1:] != images.shape[1:]:
            yield _join(held)
            held, held_count = [], 0
        item_bytes = max(1, images[0].nbytes)
        item_count = min(limits.item_count, max(1, limits.file_bytes // item_bytes))
        start = 0
        while start < len(images):
            stop = start + item_count - held_count
            held.append(_slice(block, images, start, stop))
            held_count += len(held[-1].images)
            start = stop
            if held_count == item_count:
                yield _join(held)
                held, held_count = [], 0
    if held:
        yield _join(held)


def _check_ids(block: ItemBlock) -> None:
    if block.item_ids is not None and len(block.item_ids) != len(block.images):
        raise InputError(
            f"{block.where}: {len(block.item_ids)} item ids for {len(block.images)} items; give "
            "one id an item, or none"
        )


def _slice(block: ItemBlock, images: Array, start: int, stop: int) -> ItemBlock:
    item_ids = None if block.item_ids is None else block.item_ids[start:stop]
    return ItemBlock(
        images=images[start:stop],
        item_ids=item_ids,
        where=block.where,
        errors={n - start: why for n, why in block.errors.items() if start <= n < stop},
    )


def _refuse_bad_items(block: ItemBlock, images: Array, signature: Signature) -> None:
    taken = signature.input
    bad = {**(not_finite(filled(images, taken)) if taken.finite else {}), **block.errors}
    if bad:
        raise InputError(
            f"{block.where}: item {min(bad)}: {bad[min(bad)]}; replace or leave out such items, "
            "or submit without strict"
        )


def _join(parts: list[ItemBlock]) -> ArrayShard:
    with_ids = [part.item_ids for part in parts if part.item_ids is not None]
    if with_ids and len(with_ids) != len(parts):
        raise InputError(
            f"{parts[0].where}: some images have item ids and some have none; give ids to all"
        )
    first = parts[0].images
    images = first if len(parts) == 1 else np.concatenate([part.images for part in parts])
    item_ids = [item_id for ids in with_ids for item_id in ids] if with_ids else None
    errors, before = [], 0
    for part in parts:
        errors += [ItemError(index=before + n, reason=part.errors[n]) for n in sorted(part.errors)]
        before += len(part.images)
    return ArrayShard(images=images, item_ids=item_ids, errors=errors)
