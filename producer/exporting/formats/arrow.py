"""Results as Arrow tables, and as files of them: Parquet, and Arrow's own."""

from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import MissingExtraError
from producer.exporting.cells import Cells
from producer.exporting.interface import Export
from producer.exporting.rows import TEXT, Column, Rows, encoded
from producer.item_results import ItemResults


def write_parquet(export: Export, file: IO[bytes]) -> None:
    """Write `.parquet`: a row for each item, a row group for each shard."""
    pa, rows = _pyarrow(), export.rows
    from pyarrow import parquet  # noqa: PLC0415 - optional package

    schema = _schema(rows, pa)
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for part in export.parts:
            writer.write_table(_table(rows, part, schema, pa))


def write_arrow(export: Export, file: IO[bytes]) -> None:
    """Write `.arrow`, an Arrow IPC file: a row for each item, a record batch for each shard."""
    pa, rows = _pyarrow(), export.rows
    schema = _schema(rows, pa)
    with pa.ipc.new_file(file, schema) as writer:
        for part in export.parts:
            writer.write_table(_table(rows, part, schema, pa))


def to_arrow(rows: Rows, part: ItemResults) -> Any:
    """The rows of some items as a `pyarrow.Table`.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa = _pyarrow()
    return _table(rows, part, _schema(rows, pa), pa)


def _pyarrow() -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional package
        import pyarrow.ipc  # noqa: PLC0415 - optional package
    except ImportError as exc:
        raise MissingExtraError(
            "Arrow tables and Parquet need pyarrow, which is not installed; pip install "
            "'fornada[tables]'"
        ) from exc
    return pa


def _schema(rows: Rows, pa: Any) -> Any:
    return pa.schema([(column.name, _type(column, pa)) for column in rows.columns])


def _table(rows: Rows, part: ItemResults, schema: Any, pa: Any) -> Any:
    pairs = zip(rows.columns, rows.cells(part), strict=True)
    return pa.table([_array(column, cells, pa) for column, cells in pairs], schema=schema)


def _type(column: Column, pa: Any) -> Any:
    rank, is_text = len(column.shape), column.dtype == TEXT
    value = pa.string() if is_text else pa.from_numpy_dtype(np.dtype(column.dtype))
    if rank and all(column.shape) and not is_text:
        if rank == 1:
            return pa.list_(value, column.shape[0])
        # Arrow's tensors hold no bool.
        return pa.fixed_shape_tensor(
            pa.uint8() if pa.types.is_boolean(value) else value, column.shape
        )
    for _ in column.shape:
        value = pa.list_(value)
    return value


def _array(column: Column, cells: Cells, pa: Any) -> Any:
    kind, values = _type(column, pa), cells.values
    if cells.lengths is not None:
        return _varying_lists(cells, cells.lengths, kind, pa)
    if column.dtype == TEXT:
        return _texts(cells, kind, pa)
    if not column.shape:
        # NaN becomes null: a failed item has no value, in every format.
        return pa.array(values, type=kind, mask=cells.missing, from_pandas=True)
    if isinstance(values, np.ndarray) and all(column.shape):
        return _fixed_lists(values, cells.missing, kind, pa)
    if isinstance(values, list) and not any(isinstance(cell, np.ndarray) for cell in values):
        return pa.array(values, type=kind)
    return _nested_lists(list(values), cells.missing, column, pa)


def _texts(cells: Cells, kind: Any, pa: Any) -> Any:
    if cells.texts is not None:
        known = _texts(Cells(list(cells.texts)), kind, pa)
        return known.take(pa.array(cells.values, mask=cells.missing))
    try:
        return pa.array(cells.values, type=kind)
    except UnicodeEncodeError:
        return pa.array([_encodable(cell) for cell in cells.values], type=kind)


def _varying_lists(cells: Cells, lengths: NDArray[np.int64], kind: Any, pa: Any) -> Any:
    """Lists of some values each, which are one after the other."""
    of = kind.value_type
    plain = Cells(cells.values, texts=cells.texts)
    inner = pa.array(cells.values, type=of) if cells.texts is None else _texts(plain, of, pa)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    gone = None if cells.missing is None else pa.array(cells.missing)
    return pa.ListArray.from_arrays(pa.array(offsets), inner, mask=gone)


def _fixed_lists(
    values: NDArray[Any], missing: NDArray[np.bool_] | None, kind: Any, pa: Any
) -> Any:
    """Lists of one length, or tensors of one shape, from an array [items, *shape]."""
    is_tensor, gone = values.ndim > 2, missing  # noqa: PLR2004 - items, and an axis
    if is_tensor and values.dtype == np.bool_:
        values = values.view(np.uint8)
    if values.dtype.kind == "f":
        # NaN in a list says so by itself.
        gone = None
    lists = pa.FixedSizeListArray.from_arrays(
        pa.array(values.reshape(-1)),
        type=kind.storage_type if is_tensor else kind,
        mask=None if gone is None else pa.array(gone),
    )
    return pa.ExtensionArray.from_storage(kind, lists) if is_tensor else lists


def _nested_lists(
    values: list[Any], missing: NDArray[np.bool_] | None, column: Column, pa: Any
) -> Any:
    """Lists of varying lengths, of lists for each further axis, from an array an item or `None`."""
    rank, dtype = len(column.shape), np.dtype(column.dtype)
    blank = np.zeros((0,) * rank, dtype)
    gone = np.zeros(len(values), np.bool_) if missing is None else missing
    gone = gone | np.array([value is None for value in values], np.bool_)
    arrays = [blank if is_gone else value for value, is_gone in zip(values, gone, strict=True)]
    shapes = np.array([array.shape for array in arrays], np.int64).reshape(len(arrays), rank)
    lists = pa.array(np.concatenate([array.reshape(-1) for array in arrays]))
    for axis in reversed(range(rank)):
        lengths = np.repeat(shapes[:, axis], shapes[:, :axis].prod(axis=1))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        mask = pa.array(gone) if axis == 0 else None
        lists = pa.ListArray.from_arrays(pa.array(offsets), lists, mask=mask)
    return lists


def _encodable(cell: Any) -> Any:
    if isinstance(cell, list):
        return [_encodable(inner) for inner in cell]
    return None if cell is None else encoded(cell).decode()
