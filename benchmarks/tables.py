"""The tables of workload `table`: Parquet in, scored Parquet out. Needs NumPy and pyarrow."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from benchmarks.contract import KEY_COLUMN

_ROW_GROUP_ROWS = 25_000
_OF_INPUTS = {"f": np.float32, "i": np.int32}
#: As pandas and most databases write numbers.
_OF_COLUMNS = {"f": np.float64, "i": np.int64}


def to_table(inputs: Mapping[str, NDArray[Any]], *, first: int) -> bytes:
    """A Parquet file of a model's inputs [rows, 1] and the keys of the rows from number `first`."""
    columns = {name: a[:, 0].astype(_OF_COLUMNS[a.dtype.kind]) for name, a in inputs.items()}
    row_count = len(next(iter(inputs.values())))
    keys = [f"C-{number:09}" for number in range(first, first + row_count)]
    return _file({KEY_COLUMN: keys, **columns})


def from_table(data: bytes) -> tuple[list[str], dict[str, NDArray[Any]]]:
    """The keys in a Parquet file, and its other columns as a model's inputs."""
    table = parquet.read_table(io.BytesIO(data))
    columns = {name: table[name].to_numpy() for name in table.column_names if name != KEY_COLUMN}
    return table[KEY_COLUMN].to_pylist(), as_inputs(columns)


def as_inputs(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Columns as a model's inputs: float32 or int32 [rows, 1]."""
    return {
        name: column.astype(_OF_INPUTS[column.dtype.kind])[:, np.newaxis]
        for name, column in columns.items()
        if name != KEY_COLUMN
    }


def scored(keys: Any, probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """The columns of a scored table: keys, and one for each class."""
    return {KEY_COLUMN: keys, **{f"class{n}": column for n, column in enumerate(probabilities.T)}}


def to_scored(keys: Sequence[str], probabilities: NDArray[np.float32]) -> bytes:
    """A Parquet file of scored rows."""
    return _file(scored(keys, probabilities))


def from_scored(files: Sequence[bytes]) -> NDArray[np.float32]:
    """The probabilities in Parquet files of scored rows, by key: float32 [rows, classes]."""
    table = pa.concat_tables([parquet.read_table(io.BytesIO(data)) for data in files])
    table = table.sort_by(KEY_COLUMN)
    return np.column_stack([table[name] for name in table.column_names if name != KEY_COLUMN])


def _file(columns: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(dict(columns)), file, row_group_size=_ROW_GROUP_ROWS)
    return file.getvalue()
