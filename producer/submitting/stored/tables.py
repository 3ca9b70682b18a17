"""Cut tables in the store into shards: Parquet stays where it is, others are copied.

Parquet that names images is copied too, as are those: workers read what their job names alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from fornada.errors import InputError
from fornada.formats.tables.binding import TableBinding
from fornada.storage.interface import ObjectStore
from producer.inputs.data.item_ids import without_duplicates
from producer.inputs.interface import Signature
from producer.inputs.stored_images import FoundObject
from producer.inputs.tables.images import FetchUrl, ImageReader
from producer.inputs.tables.interface import TABLE_KINDS, Table, TableOptions
from producer.inputs.tables.manifest import COLUMN, ManifestTable
from producer.inputs.tables.reading import table_blocks
from producer.inputs.tables.stored import names_images, opened_table, plan_tables
from producer.submitting.sharding import cut
from producer.submitting.shards import Shard, ShardLimits, StoredShard


class StoredShards(NamedTuple):
    """Stored objects as shards."""

    shards: Iterator[Shard]
    #: Which columns are which inputs, of shards that are rows of a stored table.
    table: TableBinding | None = None


def cut_tables(
    files: Sequence[FoundObject],
    options: TableOptions,
    *,
    objects: ObjectStore,
    fetch: FetchUrl,
    signature: Signature,
    limits: ShardLimits,
    strict: bool,
) -> StoredShards:
    """Shards of the rows of all tables, in order.

    Args:
        files: Objects that are tables, at least one.
        options: What the caller says about columns.
        objects: The store.
        fetch: Reads the objects that a table names.
        signature: What the model takes.
        limits: What goes into a shard.
        strict: Refuse a bad row of a table that is copied.

    Raises:
        InputError: A table is damaged or does not fit the model.
        UsageError: Columns are given for an input that the model lacks.
        StoreError: The store cannot be reached or refuses.
    """
    if all(file.kind == "parquet" for file in files) and not names_images(
        files[0], options, objects=objects, signature=signature
    ):
        plan = plan_tables(
            files,
            options,
            objects=objects,
            signature=signature,
            row_count=limits.item_count,
            size_bytes=limits.file_bytes,
        )
        return StoredShards((StoredShard(input=each) for each in plan.shards), plan.binding)
    tables = []
    for file in files:
        kind = next((kind for kind in TABLE_KINDS if kind == file.kind), None)
        if kind is None:
            raise InputError(f"{file.where} is no table, and others are; give a prefix without it")
        tables.append(opened_table(file, kind, objects=objects))
    blocks = table_blocks(
        tables,
        _with_ids(options, tables, signature),
        signature=signature,
        images=ImageReader(folder=None, max_file_bytes=limits.file_bytes, fetch=fetch),
        keeps_files=True,
    )
    found = without_duplicates(blocks)
    return StoredShards(cut(found, signature=signature, limits=limits, strict=strict))


def _with_ids(options: TableOptions, tables: Sequence[Table], signature: Signature) -> TableOptions:
    """`options`, with addresses as ids where all that the tables have are distinct ones."""
    urls = [url for table in tables if isinstance(table, ManifestTable) for url in table.urls]
    are_lists = all(isinstance(table, ManifestTable) for table in tables)
    if options.id_column is not None or not are_lists or len(set(urls)) < len(urls):
        return options
    columns = options.columns or {tensor.name: COLUMN for tensor in signature.inputs}
    return replace(options, id_column=COLUMN, columns=columns)
