"""Tables as columns of numbers and texts, read as workers and clients read them."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError
from fornada.formats.items import Array
from fornada.formats.tables.arrow import arrow, reading_table
from fornada.formats.tables.binding import kind_of, types_by_name
from fornada.formats.tables.cells import fitted_numbers, texts_of
from fornada.tensors import InputTensor

#: Everything is held in memory.
_MAX_BYTES = 16 * 1024**3
_HEAD_BYTES = 4 * 1024 * 1024
_DELIMITERS = (",", ";", "\t", "|")
#: Of file names; a CSV file may be gzipped.
PARQUET_SUFFIXES, CSV_SUFFIXES = (".parquet", ".pq"), (".csv", ".tsv", ".csv.gz", ".tsv.gz")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cells:
    """The cells of one column."""

    #: float32 [rows], or UTF-8 `bytes` [rows].
    values: Array
    #: Whether a row has no value: bool [rows].
    missing: NDArray[np.bool_]
    #: Whether its numbers, 0 and 1, stand for false and true.
    are_truths: bool = False
    #: Why it is neither numbers nor text.
    refused: str = ""

    @property
    def is_text(self) -> bool:
        """Whether it holds texts, not numbers."""
        return self.values.dtype.hasobject

    def at(self, rows: Any) -> "Cells":
        """The cells of some rows."""
        return replace(self, values=self.values[rows], missing=self.missing[rows])


def is_table(path: Path) -> bool:
    """Whether a file is named like a table."""
    return path.name.lower().endswith(PARQUET_SUFFIXES + CSV_SUFFIXES)


def read_table(path: Path) -> dict[str, Cells]:
    """Name of each column → its cells.

    In CSV, a column holds numbers if each of its cells is one, is true or false, or says that there
    is none.

    Raises:
        InputError: The file cannot be read, is too large, or names two columns alike.
        MissingExtraError: pyarrow is not installed.
    """
    is_csv = path.name.lower().endswith(CSV_SUFFIXES)
    try:
        with reading_table(str(path)):
            table = _csv_table(path) if is_csv else _parquet_table(path)
    except OSError as exc:
        raise InputError(f"{path} cannot be read ({exc.strerror or exc}); check the path") from exc
    names = types_by_name(table.schema, where=str(path))
    cells = _csv_cells if is_csv else _typed_cells
    return {name: cells(table.column(name).combine_chunks(), name) for name in names}


def _parquet_table(path: Path) -> Any:
    with arrow("parquet").ParquetFile(path) as file:
        groups = [file.metadata.row_group(at) for at in range(file.metadata.num_row_groups)]
        _check_size(sum(group.total_byte_size for group in groups), path)
        return file.read()


def _csv_table(path: Path) -> Any:
    """All cells as text, as the client reads them."""
    _check_size(path.stat().st_size, path)
    pa, arrow_csv = arrow(), arrow("csv")
    with pa.input_stream(str(path), compression="detect") as stream:
        header = stream.read(_HEAD_BYTES).split(b"\n", 1)[0].decode("utf-8-sig").rstrip("\r")
    delimiter = max(_DELIMITERS, key=header.count)
    names = next(csv.reader([header], delimiter=delimiter), [])
    return arrow_csv.read_csv(
        str(path),
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )


def _check_size(size_bytes: int, path: Path) -> None:
    if size_bytes > _MAX_BYTES:
        raise InputError(
            f"{path} holds {size_bytes} bytes, over {_MAX_BYTES}; train on a part of it"
        )


def _csv_cells(values: Any, name: str) -> Cells:
    found = _number_cells(values, name, is_parsed=True)
    if found is None:
        return _text_cells(values, name)
    words = {text.strip().lower() for text in values.unique().to_pylist()}
    return replace(found, are_truths=bool(words) and words <= {"true", "false", ""})


def _typed_cells(values: Any, name: str) -> Cells:
    types, kind = arrow("types"), kind_of(values.type)
    if kind == "text":
        return _text_cells(values, name)
    found = None
    if kind == "number" or types.is_null(values.type):
        found = _number_cells(values, name, is_parsed=False)
    if found is not None:
        return replace(found, are_truths=types.is_boolean(values.type))
    nothing = np.zeros(len(values), np.float32)
    refused = str(values.type)[:80] + (", out of the range of float32" if kind == "number" else "")
    return Cells(values=nothing, missing=nothing.astype(np.bool_), refused=refused)


def _text_cells(values: Any, name: str) -> Cells:
    fitted = texts_of(values, name)
    missing = np.zeros(len(values), np.bool_)
    # Null, or not UTF-8.
    missing[list(fitted.errors)] = True
    return Cells(values=fitted.values, missing=missing)


def _number_cells(values: Any, name: str, *, is_parsed: bool) -> Cells | None:
    """The cells as numbers; `None` where one is none."""
    # NaN stands for what is missing.
    tensor = InputTensor(name="number", dtype="float32", shape=[1], finite=False)
    fitted = fitted_numbers(values, tensor, name, is_parsed=is_parsed)
    if fitted.errors:
        return None
    return Cells(values=fitted.values, missing=np.isnan(fitted.values))
