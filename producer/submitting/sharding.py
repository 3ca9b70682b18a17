"""Cut a stream of items into shards of one size, holding one shard at a time."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import cast

from fornada.errors import InputError, UsageError
from fornada.formats.items import fixed_bytes
from fornada.jobs.items import filled_rows, not_finite_rows
from producer.inputs.interface import Block, ImageFile, ItemBlock, Signature
from producer.submitting.file_sharding import cut_files
from producer.submitting.row_sharding import RowsOfShard, measured_rows, unreadable
from producer.submitting.shards import ArrayShard, Shard, ShardLimits, TensorShard


def items_per_shard_for(signature: Signature, *, items_per_shard: int, max_shard_bytes: int) -> int:
    """`items_per_shard`, or fewer if no more, or no more outputs, fit into `max_shard_bytes`.

    Raises:
        InputError: Not even one item fits.
        UsageError: `items_per_shard` is not a whole number, or less than 1.
    """
    if not isinstance(items_per_shard, int) or items_per_shard < 1:
        raise UsageError(f"items_per_shard is {items_per_shard}; give a whole number, at least 1")
    item_bytes, output_bytes = fixed_bytes(signature.inputs), fixed_bytes(signature.outputs)
    one_item = f"one item of {signature.model}"
    for fact, size_bytes in (
        (f"{one_item} has", item_bytes),
        (f"the outputs of {one_item} have", output_bytes),
    ):
        if size_bytes > max_shard_bytes:
            raise InputError(
                f"{fact} {size_bytes} bytes, and a shard takes {max_shard_bytes}; raise "
                "FORNADA_MAX_SHARD_BYTES"
            )
    return min(items_per_shard, max_shard_bytes // max(1, item_bytes, output_bytes))


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
    for files_of, run in groupby(blocks, key=_files_of):
        shards: Iterator[Shard]
        if files_of is None:
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
                files=files_of,
            )
        for shard in shards:
            yield shard
            number += shard.item_count
    if not number:
        raise InputError("there are no items; give at least one")


def _files_of(block: Block) -> frozenset[str] | None:
    """The inputs that are image files in a block of rows; `None` for an image file."""
    return None if isinstance(block, ImageFile) else block.files


def _cut_rows(
    blocks: Iterable[ItemBlock],
    *,
    signature: Signature,
    limits: ShardLimits,
    strict: bool,
    files: frozenset[str],
) -> Iterator[ArrayShard | TensorShard]:
    """Shards of rows, as large as the limits allow; the last one is shorter."""
    filling = RowsOfShard(signature, limits, files)
    for given in blocks:
        left = measured_rows(given, signature, limits)
        if strict:
            _refuse_bad_items(left.block, signature)
        while len(left.sizes):
            count = filling.room_for(left)
            if count:
                filling.add(left.part(0, count))
                left = left.part(count, len(left.sizes))
            if not count or filling.item_count == limits.item_count:
                yield filling.shard()
                filling = RowsOfShard(signature, limits, files)
    if filling.item_count:
        yield filling.shard()


def _refuse_bad_items(block: ItemBlock, signature: Signature) -> None:
    rows = filled_rows(block.rows, signature.inputs)
    bad = not_finite_rows(rows, signature.inputs) | unreadable(block, signature) | {**block.errors}
    if bad:
        raise InputError(
            f"{block.where}: item {min(bad)}: {bad[min(bad)]}; replace or leave out such items, "
            "or submit without strict"
        )
