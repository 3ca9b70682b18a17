"""Data frames and their columns, of pandas, Polars, Arrow and what else narwhals reads."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from fornada.errors import FornadaError, InputError, MissingExtraError
from fornada.formats.items import Array
from fornada.tensors import InputTensor
from producer.inputs.data.conversion import in_cells, type_name

if TYPE_CHECKING:
    import narwhals as nw

    Frame = nw.DataFrame[Any]

_PACKAGES = frozenset({"cudf", "modin", "pandas", "polars", "pyarrow"})
_PROTOCOLS = ("__arrow_c_stream__", "__arrow_c_array__", "__dataframe__")
_ROWS_AT_A_TIME = 65_536


def is_frame(value: Any) -> bool:
    """Whether `value` is a data frame, or a column of one, or says that it is."""
    kind = type(value)
    if not _may_be_frame(value):
        return False
    if any(hasattr(kind, protocol) for protocol in _PROTOCOLS):
        return True
    import narwhals as nw  # noqa: PLC0415 - as below

    try:
        found = nw.from_native(value, allow_series=True, pass_through=True)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - `frame_of` says why
        return True
    return isinstance(found, nw.DataFrame | nw.Series | nw.LazyFrame)


def _may_be_frame(value: object) -> bool:
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    named = package in _PACKAGES or any(hasattr(kind, protocol) for protocol in _PROTOCOLS)
    # An iterator of frames, as a reader of record batches is, is a stream.
    return named and not hasattr(kind, "__next__")


def frame_of(value: Any, *, where: str) -> "Frame | None":
    """`value` as a data frame, if it is one, or a column of one.

    Raises:
        InputError: It is a query that was not run, or cannot be read.
        MissingExtraError: Reading it takes pyarrow, which is not installed.
    """
    if not _may_be_frame(value):
        return None
    import narwhals as nw  # noqa: PLC0415 - only who gives a data frame waits for the import

    with _reading(value, where):
        found = nw.from_native(value, allow_series=True, pass_through=True)
        if not isinstance(found, nw.DataFrame | nw.Series | nw.LazyFrame):
            found = nw.from_native(_to_arrow(value), allow_series=True, pass_through=True)
    if isinstance(found, nw.LazyFrame):
        raise InputError(f"{where} is a query that was not run; give what its collect() returns")
    if isinstance(found, nw.Series):
        return found.alias("values").to_frame()
    return found if isinstance(found, nw.DataFrame) else None


def _to_arrow(value: Any) -> Any:
    """What speaks one of the protocols as a table or column of pyarrow; anything else as it is."""
    kind = type(value)
    if not any(hasattr(kind, protocol) for protocol in _PROTOCOLS):
        return value
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional package
        from pyarrow.interchange import from_dataframe  # noqa: PLC0415 - optional package
    except ImportError as exc:
        raise MissingExtraError(
            f"{type_name(value)} is read by pyarrow, which is not installed; "
            "pip install 'fornada[tables]'"
        ) from exc
    if hasattr(kind, "__arrow_c_stream__"):
        return pa.table(value)
    if hasattr(kind, "__arrow_c_array__"):
        return pa.chunked_array([pa.array(value)])
    return from_dataframe(value)


def frame_arrays(
    frame: "Frame", taken: InputTensor, *, column: str | None = None, model: str, where: str
) -> Iterator[tuple[int, Array]]:
    """The rows of a frame, with their first row's number: [rows, columns], nulls masked.

    Of columns, only `column`, or the one with the input's name, if there is one. A single column
    may hold lists: objects [rows].

    Raises:
        InputError: A column holds no numbers, nor texts if those are taken; or there is no such
            column.
    """
    if column is not None:
        check_columns(frame, {taken.name: column}, model=model, where=where)
    with _reading(frame, where):
        if column is not None or taken.name in frame.columns:
            frame = frame.select(column or taken.name)
        if taken.dtype == "string" and len(frame.columns) > 1:
            yield 0, _texts(frame, model=model, where=where)
            return
        names = [name for name in frame.columns if not _is_numeric(frame, name)]
        if names and len(frame.columns) == 1:
            yield 0, in_cells([_cell(cell) for cell in frame.get_column(names[0]).to_list()])
            return
        names = [name for name in names if str(frame.schema[name]) != "Object"]
        if names:
            raise InputError(
                f"{where}: column {names[0]!r} holds {frame.schema[names[0]]}, and {model} takes "
                f"{taken}; select the columns of numbers"
            )
    # A table of two axes may be one item.
    step = _ROWS_AT_A_TIME if len(taken.shape) <= 1 else max(1, len(frame))
    for start in range(0, max(1, len(frame)), step):
        with _reading(frame, where):
            array = _numbers(frame[start : start + step], taken)
        yield start, array


def check_columns(frame: "Frame", columns: Mapping[str, str], *, model: str, where: str) -> None:
    """Check that the frame has the column of each input.

    Raises:
        InputError: It lacks one.
    """
    for name, column in columns.items():
        if column not in frame.columns:
            has = ", ".join(map(repr, frame.columns[:10]))
            as_input = "" if column == name else f" for {name!r}"
            raise InputError(
                f"{where} has the columns {has}, and {model} takes {column!r}{as_input}; rename "
                "one so, or say columns={input: column}"
            )


def _texts(frame: "Frame", *, model: str, where: str) -> Array:
    """Objects [rows, columns]."""
    for name in frame.columns:
        if _is_numeric(frame, name):
            raise InputError(
                f"{where}: column {name!r} holds {frame.schema[name]}, and {model} takes strings; "
                "select the columns of texts"
            )
    return np.column_stack([in_cells(frame.get_column(n).to_list()) for n in frame.columns])


def _is_numeric(frame: "Frame", name: str) -> bool:
    dtype = frame.schema[name]
    return dtype.is_numeric() or dtype.is_boolean()


def _cell(cell: Any) -> Any:
    is_sequence = hasattr(cell, "__iter__") and not isinstance(cell, str | bytes | dict)
    return list(cell) if is_sequence else cell


def _numbers(frame: "Frame", taken: InputTensor) -> Array:
    columns, masks = [], []
    for name in frame.columns:
        column = frame.get_column(name)
        if str(column.dtype) == "Object":
            # Numbers of Python's, which may be None, or anything else.
            columns.append(in_cells(column.to_list()))
            masks.append(np.zeros(len(frame), np.bool_))
            continue
        null = column.is_null().to_numpy()
        filled = column.fill_null(value=False if column.dtype.is_boolean() else 0).to_numpy()
        if null.any() and "int" in taken.dtype and not (filled % 1).any():
            # Whole numbers, which pandas keeps as floats beside a null.
            filled = filled.astype(np.int64)
        columns.append(filled)
        masks.append(null)
    if not columns:
        return np.empty((len(frame), 0))
    values, mask = np.column_stack(columns), np.column_stack(masks)
    return np.ma.MaskedArray(values, mask) if mask.any() else values


@contextmanager
def _reading(value: object, where: str) -> Iterator[None]:
    """Turn whatever a package of frames raises into one line."""
    try:
        yield
    except (FornadaError, MemoryError):
        raise
    except Exception as exc:
        fact = (str(exc).splitlines() or [""])[0][:200]
        raise InputError(
            f"{where} is {type_name(value)}, which cannot be read ({type(exc).__name__}: {fact}); "
            "give its numbers as an array"
        ) from exc
