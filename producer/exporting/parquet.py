"""Results as Parquet: a row for each item, a row group for each shard."""

from typing import IO, Any

import numpy as np

from fornada.errors import MissingExtraError
from producer.exporting.interface import Export
from producer.exporting.rows import Column, encoded


def write_parquet(export: Export, file: IO[bytes]) -> None:
    """Write `.parquet`."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional package
        from pyarrow import parquet  # noqa: PLC0415 - optional package
    except ImportError as exc:
        raise MissingExtraError(
            "parquet needs pyarrow, which is not installed; pip install 'fornada[tables]'"
        ) from exc
    rows = export.rows
    schema = pa.schema([(column.name, _type(column, pa)) for column in rows.columns])
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for part in export.parts:
            cells = zip(rows.columns, rows.cells(part), strict=True)
            writer.write_table(pa.table([_array(*each, pa) for each in cells], schema=schema))


def _type(column: Column, pa: Any) -> Any:
    cell = pa.string() if column.holds == "text" else pa.float32()
    return cell if column.length is None else pa.list_(cell, column.length or -1)


def _array(column: Column, cells: Any, pa: Any) -> Any:
    if column.length:
        flat = pa.array(cells.ravel(), from_pandas=False)
        return pa.FixedSizeListArray.from_arrays(flat, column.length)
    if column.length is None and column.holds == "text":
        cells = [None if cell is None else encoded(cell).decode() for cell in cells]
    # NaN becomes null: a failed item has no value, in every format.
    return pa.array(cells, type=_type(column, pa), from_pandas=isinstance(cells, np.ndarray))
