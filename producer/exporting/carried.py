"""Columns of the table that a job was submitted from, carried along beside its results."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from fornada.errors import UsageError
from fornada.formats.tables.arrow import arrow, reading_table
from fornada.formats.tables.binding import kind_of
from producer.exporting.rows import TEXT, Column
from producer.item_results import CarriedCells, ShardResult


def with_carried(
    parts: Iterable[ShardResult], tables: Iterator[Any]
) -> tuple[tuple[Column, ...], Iterator[ShardResult]]:
    """The columns of `tables`, and the parts with them.

    Args:
        parts: The results of each shard.
        tables: A `pyarrow.Table` for each, of as many rows.

    Raises:
        UsageError: A column holds neither numbers nor what is written as text.
    """
    first = next(tables)
    columns = tuple(
        Column(name, _dtype(name, of))
        for name, of in zip(first.schema.names, first.schema.types, strict=True)
    )

    def carried() -> Iterator[ShardResult]:
        for part, table in zip(parts, chain([first], tables), strict=True):
            cells = {
                column.name: _cells(table.column(column.name), column.dtype) for column in columns
            }
            yield replace(part, carried=cells)

    return columns, carried()


def _dtype(name: str, of: Any) -> str:
    types = arrow("types")
    if kind_of(of) == "number" and not (types.is_decimal(of) or types.is_dictionary(of)):
        return str(np.dtype(of.to_pandas_dtype()))
    if kind_of(of) in {"text", "number"} or types.is_temporal(of) or types.is_null(of):
        return TEXT
    raise UsageError(
        f"column {name!r} holds {str(of)[:80]}, which is no cell of a row; leave it out of "
        "--with-columns"
    )


def _cells(column: Any, dtype: str) -> CarriedCells:
    pa = arrow()
    with reading_table("a carried column"):
        if dtype == TEXT:
            texts: list[str | None] = column.cast(pa.string()).to_pylist()
            return texts
        plain = column.cast(pa.from_numpy_dtype(np.dtype(dtype)))
        missing = np.asarray(plain.is_null().to_numpy(), np.bool_)
        zero: Any = False if dtype == "bool" else 0
        return np.ma.MaskedArray(np.asarray(plain.fill_null(zero).to_numpy()), missing)
