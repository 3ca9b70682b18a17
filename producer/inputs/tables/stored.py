"""Tables in the store: Parquet, planned by footers and read by workers; others, copied."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BufferedReader
from typing import NamedTuple

from fornada.errors import InputError, InputNotAllowedError, UsageError
from fornada.formats.items import fixed_bytes
from fornada.formats.tables.binding import TableBinding, check_types, kind_of
from fornada.formats.tables.parquet import RowGroup, StoredParquet
from fornada.formats.tables.ranged_file import RangedFile, ReadRange
from fornada.jobs.shard_inputs import ShardInput
from fornada.records import ObjectRef
from fornada.storage.checked_reads import read_checked
from fornada.storage.interface import ObjectInfo, ObjectStore
from fornada.trust.input_prefixes import InputPrefixes
from fornada.trust.object_names import bucket_flaw, key_flaw
from producer.inputs.interface import Signature, StoredImages
from producer.inputs.stored_images import FoundObject, read_each
from producer.inputs.tables.binding import bound
from producer.inputs.tables.catalog import open_table
from producer.inputs.tables.images import FetchUrl
from producer.inputs.tables.interface import Open, Table, TableKind, TableOptions

#: Of one shard, whose items may be selected by number.
_MOST_ROWS = 1_000_000
#: Read at a time of a table that is copied.
_BUFFER_BYTES = 8 * 1024 * 1024


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
    row_count: int,
    size_bytes: int,
) -> TablePlan:
    """Shards over the row groups of all files, in order; only footers are read.

    A shard is a run of row groups, or one larger row group; one that is over `size_bytes`, or has
    over a million rows, is cut into parts. Sizes and ETags are recorded.

    Args:
        files: Parquet objects, at least one; the first one decides which columns are which inputs.
        options: What the caller says about columns.
        objects: The store.
        signature: What the model takes.
        row_count: Rows of a shard of several row groups.
        size_bytes: Of a shard, its items and their outputs.

    Raises:
        InputError: A file is damaged, has no such column or one of another type, or there are no
            rows.
        StoreError: The store cannot be reached or refuses.
    """
    takes, model = signature.inputs, signature.model

    def opened(file: FoundObject) -> StoredParquet:
        read = _ranges_of(file, objects)
        return StoredParquet(read, size_bytes=file.info.size_bytes, where=file.where)

    first = opened(files[0])
    binding = bound(first.column_types, options, takes, model=model, where=first.where)
    is_open = any(tensor.is_open for tensor in signature.outputs)
    limits = _Limits(row_count, size_bytes, most_rows=row_count if is_open else _MOST_ROWS)
    row_bytes = max(fixed_bytes(takes), fixed_bytes(signature.outputs))

    def shards_of(info: ObjectInfo) -> list[ShardInput]:
        file = replace(files[0], info=info)
        table = opened(file)
        check_types(table.column_types, binding, takes, model=model, where=table.where)
        groups = [
            RowGroup(group.row_count, max(group.size_bytes, group.row_count * row_bytes))
            for group in table.row_groups(binding.names)
        ]
        return list(_shards(file.ref, groups, limits))

    planned = read_each([file.info for file in files], shards_of, bucket=files[0].bucket)
    shards = [shard for part in planned for shard in part]
    if not shards:
        raise InputError(f"{first.where} has no rows; give a table with at least one")
    return TablePlan(binding, shards)


def names_images(
    file: FoundObject, options: TableOptions, *, objects: ObjectStore, signature: Signature
) -> bool:
    """Whether a Parquet object has the paths or addresses of images, which no worker reads.

    Raises:
        InputError: It is damaged, or has no such column or one of another type.
        StoreError: The store cannot be reached or refuses.
    """
    takes, model = signature.inputs, signature.model
    if not any(tensor.image for tensor in takes):
        return False
    table = StoredParquet(
        _ranges_of(file, objects), size_bytes=file.info.size_bytes, where=file.where
    )
    types = table.column_types
    binding = bound(types, options, takes, model=model, where=file.where, takes_paths=True)
    columns = [binding.columns[tensor.name] for tensor in takes if tensor.image]
    return any(len(each) == 1 and kind_of(types[each[0]]) == "text" for each in columns)


def opened_table(file: FoundObject, kind: TableKind, *, objects: ObjectStore) -> Table:
    """A table in the store that is read through this process.

    Raises:
        InputError: It is damaged, or has no rows.
        StoreError: The store cannot be reached or refuses.
    """
    return open_table(object_opener(file, objects=objects), kind, where=file.where)


def object_opener(file: FoundObject, *, objects: ObjectStore) -> Open:
    """What opens an object, whose bytes are read by ranges as they are needed."""
    read = _ranges_of(file, objects)

    def opened() -> BufferedReader:
        whole = RangedFile(read, size_bytes=file.info.size_bytes)
        return BufferedReader(whole, _BUFFER_BYTES)

    return opened


def url_fetcher(objects: ObjectStore, prefixes: InputPrefixes | None = None) -> FetchUrl:
    """What reads the objects whose addresses a table has, with this process's rights.

    It raises `InputError` for what is no address of an object, and `InputNotAllowedError` for one
    outside of `prefixes`, which a door gives that submits for others.
    """

    def fetch(url: str, max_bytes: int) -> bytes:
        try:
            address = StoredImages.parse(url)
        except UsageError as exc:
            raise InputError(str(exc)) from exc
        flaw = bucket_flaw(address.bucket) or key_flaw(address.prefix)
        if flaw is not None:
            raise InputError(f"{address} cannot be read: {flaw}")
        if prefixes is not None and not prefixes.allow(address.prefix, address.bucket):
            raise InputNotAllowedError(f"jobs may not read {address}, only {prefixes}")
        found = objects.get(address.prefix, bucket=address.bucket, max_bytes=max_bytes + 1)
        return found.data

    return fetch


def _ranges_of(file: FoundObject, objects: ObjectStore) -> ReadRange:
    ref = file.ref
    return lambda first, count: read_checked(
        objects, ref.part(first, count), remedy="submit it again"
    )


class _Limits(NamedTuple):
    row_count: int
    size_bytes: int
    #: Of one row group.
    most_rows: int


def _shards(ref: ObjectRef, groups: Sequence[RowGroup], limits: _Limits) -> Iterator[ShardInput]:
    first = row_count = size_bytes = 0
    for number, group in enumerate(groups):
        if row_count and (
            row_count + group.row_count > limits.row_count
            or size_bytes + group.size_bytes > limits.size_bytes
        ):
            yield from _parts(ref, [first, number - 1], row_count, size_bytes, limits)
            row_count = size_bytes = 0
        first = first if row_count else number
        row_count += group.row_count
        size_bytes += group.size_bytes
    if row_count:
        yield from _parts(ref, [first, len(groups) - 1], row_count, size_bytes, limits)


def _parts(
    ref: ObjectRef, row_groups: list[int], row_count: int, size_bytes: int, limits: _Limits
) -> Iterator[ShardInput]:
    """A shard, or several of one row group that is too large for one."""
    count = max(-(-size_bytes // limits.size_bytes), -(-row_count // limits.most_rows))
    step = -(-row_count // count)
    for first_row in range(0, row_count, step):
        yield ShardInput(
            format="parquet",
            objects=[ref],
            row_groups=row_groups,
            first_row=first_row or None,
            item_count=min(step, row_count - first_row),
        )
