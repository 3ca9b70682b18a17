"""Parquet tables in the store: planned by their footers, and read by workers where they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fornada.errors import InputError
from fornada.formats.items import item_size_bytes
from fornada.formats.tables.binding import TableBinding, check_types
from fornada.formats.tables.parquet import RowGroup, StoredParquet
from fornada.jobs.manifest import ShardInput
from fornada.parallel import in_parallel
from fornada.records import ObjectRef
from fornada.storage.checked_reads import read_checked
from fornada.storage.interface import ObjectStore
from producer.inputs.interface import Signature
from producer.inputs.stored_images import FoundObject
from producer.inputs.tables.binding import bound
from producer.inputs.tables.interface import TableOptions

#: Of one shard, whose items may be selected by number.
_MOST_ROWS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSize:
    """Rows and bytes of a shard that has several row groups, or a part of one; at most."""

    row_count: int
    size_bytes: int


class TablePlan(NamedTuple):
    """A table as shards."""

    binding: TableBinding
    shards: list[ShardInput]


def plan_tables(
    files: Sequence[FoundObject],
    options: TableOptions,
    *,
    objects: ObjectStore,
    signature: Signature,
    size: ShardSize,
) -> TablePlan:
    """Shards over the row groups of all files, in order; only footers are read.

    A shard is a run of row groups of up to `size`, or one larger row group; one that is over
    `size.size_bytes` is cut into parts. Sizes and ETags are recorded.

    Args:
        files: Parquet objects, at least one; the first one decides which columns are which inputs.
        options: What the caller says about columns.
        objects: The store.
        signature: What the model takes.
        size: Of shards.

    Raises:
        InputError: A file is damaged, has no such column or one of another type, or there are no
            rows.
        StoreError: The store cannot be reached or refuses.
    """
    takes, model = signature.inputs, signature.model

    def opened(file: FoundObject) -> StoredParquet:
        ref = ref_of(file)
        return StoredParquet(
            lambda first, count: read_checked(
                objects, ref.part(first, count), remedy="submit it again"
            ),
            size_bytes=ref.size_bytes,
            where=file.where,
        )

    first = opened(files[0])
    binding = bound(first.column_types, options, takes, model=model, where=first.where)

    def groups_of(file: FoundObject) -> list[RowGroup]:
        table = opened(file)
        check_types(table.column_types, binding, takes, model=model, where=table.where)
        return table.row_groups(binding.names)

    row_bytes = sum(item_size_bytes(t.fixed_shape, t.numpy_dtype) for t in takes)
    shards: list[ShardInput] = []
    for file, groups in zip(files, in_parallel(groups_of, files), strict=True):
        sized = [RowGroup(g.row_count, max(g.size_bytes, g.row_count * row_bytes)) for g in groups]
        shards += _shards(ref_of(file), sized, size)
    if not shards:
        raise InputError(f"{first.where} has no rows; give a table with at least one")
    return TablePlan(binding, shards)


def ref_of(file: FoundObject) -> ObjectRef:
    """The object as a shard names it."""
    info = file.info
    return ObjectRef(
        key=info.key, bucket=file.bucket, size_bytes=info.size_bytes, etag=info.etag or None
    )


def _shards(ref: ObjectRef, groups: Sequence[RowGroup], size: ShardSize) -> Iterator[ShardInput]:
    first = row_count = size_bytes = 0
    for number, group in enumerate(groups):
        if row_count and (
            row_count + group.row_count > size.row_count
            or size_bytes + group.size_bytes > size.size_bytes
        ):
            yield from _parts(ref, (first, number - 1), row_count, size_bytes, size)
            row_count = size_bytes = 0
        first = first if row_count else number
        row_count += group.row_count
        size_bytes += group.size_bytes
    if row_count:
        yield from _parts(ref, (first, len(groups) - 1), row_count, size_bytes, size)


def _parts(
    ref: ObjectRef, groups: tuple[int, int], row_count: int, size_bytes: int, size: ShardSize
) -> Iterator[ShardInput]:
    """A shard, or several of one row group that is too large for one."""
    count = max(-(-size_bytes // size.size_bytes), -(-row_count // _MOST_ROWS))
    step = -(-row_count // count)
    for first_row in range(0, row_count, step):
        yield ShardInput(
            format="parquet",
            objects=[ref],
            row_groups=list(groups),
            first_row=first_row or None,
            item_count=min(step, row_count - first_row),
        )
