"""Which files are tables, and who reads them; `key=value` folders above a file are columns too."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from fornada.formats.tables.arrow import arrow
from producer.inputs.tables.arrow_ipc import FILE_MAGIC, ArrowTable
from producer.inputs.tables.csv import CsvTable
from producer.inputs.tables.interface import UNREAD, Open, Table, TableKind
from producer.inputs.tables.jsonl import JsonLinesTable
from producer.inputs.tables.manifest import ManifestTable
from producer.inputs.tables.parquet import ParquetTable

TABLES_IN_WORDS = "Parquet, CSV, JSON lines or Arrow"

_OPENED: Mapping[TableKind, Callable[..., Table]] = {
    "parquet": ParquetTable,
    "csv": CsvTable,
    "jsonl": JsonLinesTable,
    "arrow": ArrowTable,
    "manifest": ManifestTable,
}
_MAGICS: Mapping[bytes, TableKind] = {b"PAR1": "parquet", FILE_MAGIC: "arrow"}
_SUFFIXES: Mapping[str, TableKind] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".csv.gz": "csv",
    ".tsv.gz": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonl.gz": "jsonl",
    ".ndjson.gz": "jsonl",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    # SageMaker's augmented manifests; its others begin with a bracket.
    ".manifest": "jsonl",
}
#: How a list of objects below a prefix begins.
_LIST = re.compile(rb"\s*\[\s*\{\s*\"prefix\"")
#: What Hive calls a folder of rows without a value.
_NULL = "__HIVE_DEFAULT_PARTITION__"


def table_kind(head: bytes, name: str) -> TableKind | None:
    """Which kind of table a file is, by its first bytes or its name; `None` for anything else."""
    by_head = next((kind for magic, kind in _MAGICS.items() if head.startswith(magic)), None)
    lower = name.lower()
    if lower.endswith((".manifest", ".json")) and _LIST.match(head):
        return "manifest"
    by_name = (kind for suffix, kind in _SUFFIXES.items() if lower.endswith(suffix))
    return by_head or next(by_name, None)


def open_table(opened: Open, kind: TableKind, *, folder: str = "", where: str) -> Table:
    """The table in a file, of which the header is read.

    Args:
        opened: Opens the file.
        kind: Of which kind it is.
        folder: The folders that it is in, below the one that the caller named.
        where: For error messages.

    Raises:
        InputError: It is damaged, or has no rows.
        MissingExtraError: pyarrow is not installed.
        LocalDiskError: The disk failed.
    """
    table = _OPENED[kind](opened, where=where)
    pairs = (part.partition("=") for part in folder.split("/") if "=" in part)
    values = {unquote(key): None if v == _NULL else unquote(v) for key, _, v in pairs}
    values = {key: v for key, v in values.items() if key not in table.column_types}
    return _PartOfTable(table, values) if values else table


@dataclass(frozen=True, slots=True)
class _PartOfTable:
    """A file of a table that is split by the values of some columns."""

    table: Table
    values: Mapping[str, str | None]

    @property
    def where(self) -> str:
        return self.table.where

    @property
    def column_types(self) -> Mapping[str, Any]:
        return {**self.table.column_types, **dict.fromkeys(self.values, arrow().string())}

    @property
    def parsed(self) -> frozenset[str]:
        return self.table.parsed | frozenset(self.values)

    def batches(
        self, names: Sequence[str], *, row_count: int, floats: Collection[str] = ()
    ) -> Iterator[Any]:
        pa = arrow()
        stored = [name for name in names if name not in self.values]
        for batch in self.table.batches(
            # One of its own says how many rows there are.
            stored or list(self.table.column_types)[:1],
            row_count=row_count,
            floats=floats,
        ):
            constants = {
                name: pa.array([self.values[name]] * batch.num_rows, pa.string())
                for name in names
                if name in self.values
            }
            more = [UNREAD] if UNREAD in batch.schema.names else []
            columns = {name: constants.get(name) for name in [*names, *more]}
            yield pa.record_batch(
                [
                    batch.column(name) if column is None else column
                    for name, column in columns.items()
                ],
                names=list(columns),
            )
