"""Data frames and their columns, of pandas, Polars, Arrow and what else narwhals reads."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from fornada.errors import FornadaError, InputError, MissingExtraError
from fornada.formats.items import Array
from fornada.formats.tables.cells import in_integers
from fornada.tensors import InputTensor
from producer.inputs.data.conversion import in_cells, type_name
from producer.inputs.data.frame_columns import bound_columns, is_numeric

if TYPE_CHECKING:
    import narwhals as nw

    Frame = nw.DataFrame[Any]

_PACKAGES = frozenset({"cudf", "modin", "pandas", "polars", "pyarrow"})
_PROTOCOLS = ("__arrow_c_stream__", "__arrow_c_array__", "__dataframe__")
_ROWS_AT_A_TIME = 65_536
#: Row of some that are not the model's -> why.
_Errors = dict[int, str]


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
    frame: "Frame",
    taken: InputTensor,
    *,
    columns: Sequence[str] | None = None,
    model: str,
    where: str,
) -> Iterator[tuple[int, Array, _Errors]]:
    """The rows of a frame, with their first row's number: [rows, columns], nulls masked.

    A single column may hold lists: objects [rows]. Rows with a number that the input's integers
    lack come with the reason.

    Args:
        frame: The frame.
        taken: The input.
        columns: Those that are meant; by default as `bound_columns` finds them.
        model: For error messages.
        where: For error messages.

    Raises:
        InputError: A column holds no numbers, nor texts if those are taken; or there is no such
            column.
    """
    import narwhals as nw  # noqa: PLC0415 - as above

    given = {} if columns is None else {taken.name: columns}
    with _reading(frame, where):
        bound = bound_columns(frame, given, [taken], model=model, where=where)
        # By `col`: pandas has names that are no texts.
        frame = frame.select(nw.col(*bound[taken.name]))
        read = _reader(frame, taken, model=model, where=where)
    # A table of two axes may be one item.
    step = _ROWS_AT_A_TIME if len(taken.shape) <= 1 else max(1, len(frame))
    for start in range(0, max(1, len(frame)), step):
        with _reading(frame, where):
            array, errors = read(frame[start : start + step])
        yield start, array, errors


def _reader(
    frame: "Frame", taken: InputTensor, *, model: str, where: str
) -> Callable[["Frame"], tuple[Array, _Errors]]:
    """What reads some rows of the frame's columns, by what those hold."""
    names = frame.columns
    others = [name for name in names if not is_numeric(frame, name)]
    if taken.dtype == "string" and len(names) > 1:
        numeric = next((name for name in names if name not in others), None)
        if numeric is not None:
            raise InputError(
                f"{where}: column {numeric!r} holds {frame.schema[numeric]}, and {model} takes "
                "strings; select the columns of texts"
            )
        return lambda rows: (_texts(rows), {})
    if others and len(names) == 1:
        return lambda rows: (in_cells([*map(_cell, rows.get_column(names[0]).to_list())]), {})
    others = [name for name in others if str(frame.schema[name]) != "Object"]
    if others:
        raise InputError(
            f"{where}: column {others[0]!r} holds {frame.schema[others[0]]}, and {model} takes "
            f"{taken}; select the columns of numbers"
        )
    return lambda rows: _numbers(rows, taken)


def _texts(frame: "Frame") -> Array:
    """Objects [rows, columns]."""
    return np.column_stack([in_cells(frame.get_column(n).to_list()) for n in frame.columns])


def _cell(cell: Any) -> Any:
    is_sequence = hasattr(cell, "__iter__") and not isinstance(cell, str | bytes | dict)
    return list(cell) if is_sequence else cell


def _numbers(frame: "Frame", taken: InputTensor) -> tuple[Array, _Errors]:
    columns, masks = [], []
    errors: _Errors = {}
    want = np.dtype(taken.numpy_dtype)
    for name in frame.columns:
        column = frame.get_column(name)
        if str(column.dtype) == "Object":
            # Numbers of Python's, which may be None, or anything else.
            columns.append(in_cells(column.to_list()))
            masks.append(np.zeros(len(frame), np.bool_))
            continue
        null = column.is_null().to_numpy()
        filled = column.fill_null(value=False if column.dtype.is_boolean() else 0).to_numpy()
        if want.kind in "ui":
            # pandas keeps whole numbers beside a null as floats.
            null = null | np.isnan(filled)
            filled, bad = in_integers(np.where(null, filled.dtype.type(0), filled), want, name)
            errors = bad | errors
        columns.append(filled)
        masks.append(null)
    if not columns:
        return np.empty((len(frame), 0)), {}
    values, mask = np.column_stack(columns), np.column_stack(masks)
    return np.ma.MaskedArray(values, mask) if mask.any() else values, errors


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
