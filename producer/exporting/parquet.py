"""Results as Parquet: a row for each item."""

from typing import IO, Any

import numpy as np

from fornada.errors import MissingExtraError
from producer.exporting.interface import Export
from producer.exporting.rows import Column


class ParquetFormat:
    """Writes `.parquet`, a row group for each shard."""

    is_text = False

    def write(self, export: Export, file: IO[bytes]) -> None:
        """As `Format`."""
        try:
            import pyarrow as pa  # noqa: PLC0415 - optional package
            from pyarrow import parquet  # noqa: PLC0415 - optional package
        except ImportError as exc:
            raise MissingExtraError(
                "parquet needs pyarrow, which is not installed; pip install 'fornada[parquet]'"
            ) from exc
        rows = export.rows
        schema = pa.schema([(column.name, _type(column, pa)) for column in rows.columns])
        with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for part in export.parts:
                values = [
                    _array(column, cells, pa)
                    for column, cells in zip(rows.columns, rows.values(part), strict=True)
                ]
                writer.write_table(pa.table(values, schema=schema))


def _type(column: Column, pa: Any) -> Any:
    cell = pa.string() if column.holds == "text" else pa.float32()
    if column.length is None:
        return cell
    return pa.list_(cell, column.length or -1)


def _array(column: Column, cells: Any, pa: Any) -> Any:
    if isinstance(cells, np.ndarray) and cells.ndim > 1:
        flat = pa.array(cells.ravel(), from_pandas=False)
        return pa.FixedSizeListArray.from_arrays(flat, column.length)
    # A failed item has no value, in every format: NaN becomes null.
    return pa.array(cells, type=_type(column, pa), from_pandas=isinstance(cells, np.ndarray))
