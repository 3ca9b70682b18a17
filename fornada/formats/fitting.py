"""Numbers and texts of any kind as items: Python objects, nulls and masked values."""

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError
from fornada.formats.items import Array, check_items, check_shape
from fornada.formats.rows import Rows
from fornada.tensors import InputTensor

#: The first whole number that 64 bits with a sign lack.
_BEYOND_INTEGERS = 2.0**63
#: Types of missing values: None, and those of pandas.
_NULL_TYPES = frozenset({"NoneType", "NAType", "NaTType"})


def fit_rows(
    rows: Rows, inputs: Sequence[InputTensor], *, model: str, where: str
) -> tuple[Rows, dict[int, str]]:
    """An array for each input as items that a model takes, and why rows are none; as `fit_items`.

    Raises:
        InputError: As `fit_items`.
    """
    arrays: list[Array] = []
    errors: dict[int, str] = {}
    for array, taken in zip(rows.arrays, inputs, strict=True):
        here, name = where, ""
        if len(inputs) > 1:
            here, name = f"{where}[{taken.name!r}]", f"{taken.name!r}: "
        items, found = fit_items(array, taken, model=model, where=here)
        arrays.append(items)
        errors = {row: f"{name}{why}" for row, why in found.items()} | errors
    return Rows(*arrays), errors


def fit_items(
    array: Array, taken: InputTensor, *, model: str, where: str
) -> tuple[Array, dict[int, str]]:
    """`array` as items that a model takes, and number of a row that is not one -> why.

    Nulls and masked values become the input's `fill`, or NaN where the input allows it; else their
    row fails, as that of a null among texts. NaN and infinity pass: the worker tells whether the
    input allows them.

    Args:
        array: Numbers, masked or not, or Python objects that are numbers or None; or texts, as
            `str` or UTF-8 `bytes`.
        taken: The input.
        model: For error messages.
        where: For error messages.

    Returns:
        The input's dtype [items, *its shape], `bytes` objects for texts, and the failed rows, which
        hold anything.

    Raises:
        InputError: The array is empty, or its shape, dtype or an integer does not fit.
    """
    if taken.dtype == "string":
        return _fit_texts(array, taken, model=model, where=where)
    plain, errors = _without_nulls(array, taken, model=model, where=where)
    if plain.dtype.kind == "f" and np.dtype(taken.numpy_dtype).kind in "ui":
        plain, broken = _whole(plain, taken)
        errors = broken | errors
    items = check_items(
        plain, item_shape=taken.shape, item_dtype=taken.dtype, model=model, where=where
    )
    return items, _overflows(plain, items) | errors


def _fit_texts(
    array: Array, taken: InputTensor, *, model: str, where: str
) -> tuple[Array, dict[int, str]]:
    fitted = check_shape(array.shape, taken.shape, model=model, where=where)
    if array.dtype.kind not in "OSTU":
        raise InputError(f"{where}: dtype {array.dtype} is not text; {model} takes strings")
    texts = np.full(array.size, b"", object)
    errors: dict[int, str] = {}
    width = max(1, math.prod(fitted))
    for place, value in enumerate(array.ravel().tolist()):
        try:
            texts[place] = _utf8(value)
        except UnicodeError:
            errors[place // width] = f"{_short(value)} among its texts, which is not UTF-8"
        except TypeError:
            if not _is_null_text(value):
                raise InputError(
                    f"{where}: item {place // width} holds {_short(value)}, which is not text; "
                    f"{model} takes strings"
                ) from None
            errors[place // width] = "null among its texts"
    return texts.reshape(len(array), *fitted), errors


def _utf8(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        value.decode()
        return value
    raise TypeError


def _is_null_text(value: Any) -> bool:
    # pandas has NaN for a missing text.
    return type(value).__name__ in _NULL_TYPES or (isinstance(value, float) and math.isnan(value))


def _overflows(given: Array, items: Array) -> dict[int, str]:
    """Number of a row whose numbers are too large for the items' dtype -> why it fails."""
    if items.dtype.kind != "f" or np.can_cast(given.dtype, items.dtype):
        return {}
    large = np.isinf(items)
    if not large.any():
        return {}
    large &= np.isfinite(given).reshape(items.shape)
    rows = np.flatnonzero(large.reshape(len(items), -1).any(axis=1))
    return {int(row): f"a number too large for {items.dtype} among its values" for row in rows}


def _without_nulls(
    array: Array, taken: InputTensor, *, model: str, where: str
) -> tuple[Array, dict[int, str]]:
    """`array` as plain numbers, and number of a row that fails for a null -> why.

    Nulls and masked values become the input's `fill`, or NaN where the input allows it, or zero in
    rows that fail.

    Raises:
        InputError: An object is not a number, or does not fit the input's dtype.
    """
    is_masked = isinstance(array, np.ma.MaskedArray)
    # Texts of NumPy's `StringDType` are objects to it.
    if not is_masked and (not array.dtype.hasobject or array.dtype.kind == "T"):
        return _plain(array), {}
    plain = _plain(np.asarray(array))
    null = np.ma.getmaskarray(array) if is_masked else np.zeros(plain.shape, np.bool_)
    null = null | _is_null(plain)
    can_be_nan = not taken.finite and taken.numpy_dtype.startswith("float")
    if null.any():
        value = np.nan if can_be_nan else 0
        plain = _replaced(plain, null, value if taken.fill is None else taken.fill)
    if plain.dtype.hasobject:
        plain = _as_numbers(plain, null, taken, model=model, where=where)
    if taken.fill is not None or can_be_nan:
        return plain, {}
    rows = np.flatnonzero(null.reshape(len(null), -1).any(axis=1))
    what = "a masked value or null" if is_masked else "null"
    return plain, {int(row): f"{what} among its values" for row in rows}


def _whole(numbers: Array, taken: InputTensor) -> tuple[Array, dict[int, str]]:
    """Floats that are all whole as integers, and number of a row with NaN or infinity -> why.

    Pixels stay as they are: those that were divided by 255 may all be 0 and 1.
    """
    if taken.image is not None or taken.dtype == "uint8":
        return numbers, {}
    finite = np.isfinite(numbers)
    whole = np.where(finite, numbers, numbers.dtype.type(0))
    if (whole % 1).any() or (np.abs(whole) >= _BEYOND_INTEGERS).any():
        return numbers, {}
    integers = whole.astype(np.int64)
    if taken.fill is not None:
        integers[np.isnan(numbers)] = int(taken.fill)
        finite |= np.isnan(numbers)
    if not finite.ndim:
        return integers, {}
    rows = np.flatnonzero(~finite.reshape(len(finite), -1).all(axis=1))
    return integers, {int(row): "NaN or infinity among its values" for row in rows}


def _plain(array: Array) -> Array:
    """Dtypes that NumPy itself lacks, such as the bfloat16 of TensorFlow and JAX, as its own."""
    dtype = array.dtype
    if dtype.kind == "V" and dtype.names is None and dtype.subdtype is None:
        if dtype.name.startswith(("bfloat", "float")):
            return array.astype(np.float32)
        if dtype.name.startswith(("int", "uint")):
            return array.astype(np.int64)
    return array


def _is_null(array: Array) -> NDArray[np.bool_]:
    if not array.dtype.hasobject:
        return np.zeros(array.shape, np.bool_)
    found = np.frompyfunc(lambda value: type(value).__name__ in _NULL_TYPES, 1, 1)(array)
    return np.asarray(found, np.bool_)


def _replaced(plain: Array, null: NDArray[np.bool_], value: float) -> Array:
    if plain.dtype.hasobject:
        # An int stays one among ints.
        return np.where(null, np.array(int(value) if value == value // 1 else value, object), plain)
    return np.where(null, np.asarray(value).astype(plain.dtype), plain)


def _as_numbers(
    array: Array, null: NDArray[np.bool_], taken: InputTensor, *, model: str, where: str
) -> Array:
    """An array of objects that are numbers in the smallest dtype of NumPy that holds them."""
    if null.all():
        return np.zeros(array.shape, taken.numpy_dtype)
    for place, value in zip(np.ndindex(array.shape), array.flat, strict=True):
        if not _is_number(value):
            raise InputError(
                f"{where}: item {place[0]} holds {_short(value)}, which is not numeric; {model} "
                f"takes {taken.dtype}"
            )
    numeric = np.array(array.tolist())
    if numeric.dtype.kind in "buif":
        return numeric
    if taken.numpy_dtype.startswith("float"):
        return np.array([_as_float(value) for value in array.flat]).reshape(array.shape)
    # Whole numbers beyond 64 bits, decimals, fractions.
    values: list[Any] = array.reshape(-1).tolist()
    raise InputError(
        f"{where}: values from {_short(min(values))} to {_short(max(values))} do not fit "
        f"{taken.dtype}, which {model} takes; scale them before you submit"
    )


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _is_number(value: Any) -> bool:
    if isinstance(value, numbers.Real | np.bool_):
        return True
    # `Decimal` is a Number and, alone among those with an order, not Real.
    return isinstance(value, numbers.Number) and not isinstance(value, numbers.Complex)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"  # noqa: PLR2004 - a line of a message
