"""Shards of a stored Parquet table: their items, ids and other columns, from its row groups."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from fornada.errors import InputError
from fornada.formats.items import Array, fixed_bytes
from fornada.formats.rows import size_bytes
from fornada.formats.tables.arrow import arrow
from fornada.formats.tables.binding import TableBinding, check_types, kind_of, missing_column
from fornada.formats.tables.conversion import id_texts, table_items
from fornada.formats.tables.parquet import MAX_TABLE_BYTES, StoredParquet
from fornada.formats.tensor_file import Column
from fornada.jobs.items import Items
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_files import Fetch, ImageFiles, TensorsWithFiles
from fornada.jobs.shard_inputs import ShardInput
from fornada.records import ItemError
from fornada.tensors import InputTensor


def fetch_rows(
    manifest: JobManifest, shard: ShardInput, *, fetch: Fetch
) -> Items | ImageFiles | TensorsWithFiles:
    """The items of a shard of a table, whose image files are not decoded yet.

    Raises:
        InputError: The table is damaged, or has other columns, types or rows than at submission.
        IntegrityError, ObjectNotFoundError: It has changed, or is gone.
        StoreError: The store cannot be reached.
    """
    takes, binding, table = manifest.takes, _binding(manifest), _opened(shard, fetch=fetch)
    _check_size(fixed_bytes(takes) * shard.item_count, shard, table)
    model = str(manifest.model)
    check_types(table.column_types, binding, takes, model=model, where=table.where)
    pictures = _pictures(table, binding, takes)
    columns, errors = _read_rows(manifest, shard, table, pictures)
    if shard.selected is not None:
        positions = shard.positions
        columns = [_selected(column, positions) for column in columns]
        errors = {n: errors[at] for n, at in enumerate(positions) if at in errors}
    errors |= {error.index: error.reason for error in shard.item_errors}
    bad = [ItemError(index=row, reason=errors[row]) for row in sorted(errors)]
    if not pictures:
        return Items.of_columns(columns, takes=takes).without(bad)
    read = dict(zip((tensor.name for tensor in takes), columns, strict=True))
    files = {
        name: ImageFiles(
            contents=[errors.get(row, data) for row, data in enumerate(read.pop(name))],
            names=[f"the image in {column!r}"] * shard.item_count,
        )
        for name, column in pictures.items()
    }
    if len(takes) == 1:
        return files[takes[0].name]
    return TensorsWithFiles(columns=read, files=files, errors=bad)


def _pictures(
    table: StoredParquet, binding: TableBinding, takes: Sequence[InputTensor]
) -> dict[str, str]:
    """The inputs that are columns of image files, and those columns."""
    columns = {tensor.name: binding.columns[tensor.name] for tensor in takes if tensor.image}
    return {
        name: each[0]
        for name, each in columns.items()
        if len(each) == 1 and kind_of(table.column_types[each[0]]) == "bytes"
    }


def _read_rows(
    manifest: JobManifest, shard: ShardInput, table: StoredParquet, pictures: Collection[str]
) -> tuple[list[Column], dict[int, str]]:
    """The shard's rows, up to the last that is selected; and row without an item -> why."""
    takes, binding = manifest.takes, _binding(manifest)
    parts: list[list[Column]] = [[] for _ in takes]
    errors: dict[int, str] = {}
    held_bytes = row_count = 0
    for batch in _batches(table, shard, binding.names):
        found = table_items(batch, binding, takes, files=pictures)
        errors |= {row_count + row: why for row, why in found.errors.items()}
        row_count += batch.num_rows
        for tensor, part, column in zip(takes, parts, found.columns, strict=True):
            part.append(column)
            # Files take what the file states of them, however many rows have the same.
            if tensor.name not in pictures:
                held_bytes += sum(map(size_bytes, column if isinstance(column, list) else [column]))
        _check_size(held_bytes, shard, table)
    return [_joined(part) for part in parts], errors


def _selected(column: Column, positions: Sequence[int]) -> Column:
    if isinstance(column, list):
        return [column[position] for position in positions]
    rows: Array = column[np.asarray(positions)]
    return rows


def row_ids(manifest: JobManifest, shard: ShardInput, *, fetch: Fetch) -> list[str] | None:
    """The ids of a shard's rows, which a column of the table has; `None` if rows are numbered.

    Raises:
        InputError, IntegrityError, ObjectNotFoundError, StoreError: As `fetch_rows`.
    """
    name = _binding(manifest).id_column
    if name is None:
        return None
    table = _opened(shard, fetch=fetch)
    ids: list[str] = []
    for batch in _batches(table, shard, [name]):
        ids += id_texts(batch.column(0), first_row=len(ids), where=table.where)
    return [ids[position] for position in shard.positions]


def row_columns(shard: ShardInput, names: Sequence[str], *, fetch: Fetch) -> Any:
    """Columns of a shard's rows, as a `pyarrow.Table`.

    Raises:
        InputError: The table has no such column, or as `fetch_rows`.
        IntegrityError, ObjectNotFoundError, StoreError: As `fetch_rows`.
    """
    pa = arrow()
    table = _opened(shard, fetch=fetch)
    for name in names:
        if name not in table.column_types:
            raise missing_column(name, table.column_types, where=table.where)
    whole = pa.Table.from_batches(list(_batches(table, shard, names))).select(list(names))
    plain = [_without_dictionary(whole.column(name)) for name in names]
    rows = pa.table(plain, names=list(names))
    return rows if shard.selected is None else rows.take(list(shard.positions))


def _check_size(size_bytes: int, shard: ShardInput, table: StoredParquet) -> None:
    if size_bytes > MAX_TABLE_BYTES:
        raise InputError(
            f"{table.where}: {shard.item_count} rows have over {MAX_TABLE_BYTES} bytes; write "
            "smaller row groups"
        )


def _binding(manifest: JobManifest) -> TableBinding:
    if manifest.table is None:
        raise InputError(
            f"job {manifest.job_id} reads a table, and its manifest binds no columns; submit it "
            "again"
        )
    return manifest.table


def _opened(shard: ShardInput, *, fetch: Fetch) -> StoredParquet:
    if len(shard.objects) != 1:
        raise InputError(
            f"a shard of {shard.item_count} rows names {len(shard.objects)} tables, and needs 1; "
            "write its manifest again"
        )
    (ref,) = shard.objects
    return StoredParquet(
        lambda first_byte, count: fetch(ref.part(first_byte, count)),
        size_bytes=ref.size_bytes,
        where=ref.key,
    )


def _batches(table: StoredParquet, shard: ShardInput, names: Sequence[str]) -> Iterator[Any]:
    """The shard's rows, of whose row groups it may have a part."""
    first, last = shard.row_groups or (0, 0)
    groups = range(first, last + 1)
    begin = shard.first_row or 0
    end = begin + (shard.item_count if shard.selected is None else shard.positions[-1] + 1)
    counts = [group.row_count for group in table.row_groups(names)[first : last + 1]]
    if sum(counts) < end:
        raise InputError(
            f"{table.where}: row groups {first} to {last} have {sum(counts)} rows, and the job "
            f"reads {end}; submit it again"
        )
    at = 0
    for batch in table.batches(names, row_groups=groups):
        skipped = max(0, begin - at)
        part = batch.slice(skipped, max(0, min(batch.num_rows, end - at) - skipped))
        at += batch.num_rows
        if part.num_rows:
            yield part
        if at >= end:
            return
    if at < end:
        raise InputError(f"{table.where} has {at} rows where its footer says {end}; write it again")


def _without_dictionary(column: Any) -> Any:
    if not arrow("types").is_dictionary(column.type):
        return column
    return arrow().chunked_array(
        [chunk.dictionary_decode() for chunk in column.chunks], column.type.value_type
    )


def _joined(parts: Sequence[Column]) -> Column:
    if any(isinstance(part, list) for part in parts):
        return [item for part in parts for item in part]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
