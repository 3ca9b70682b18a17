"""Values of one column as an input's dtype: numbers, text, and those that are neither."""

import math
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from fornada.formats.tables.arrow import arrow
from fornada.tensors import InputTensor

#: What stands for no number in text, in any case.
_NO_NUMBER = ("", "na", "n/a", "#n/a", "nan", "null", "none", "-")
_SHOWN = 40
#: A float of 64 bits holds all whole numbers up to this.
_LARGEST_EXACT = 2**53


class Fitted(NamedTuple):
    """Values as an input takes them."""

    values: Array
    #: Place of a value that the input does not take -> why; its place holds anything.
    errors: dict[int, str]


def texts_of(values: Any, name: str) -> Fitted:
    """Text as UTF-8 `bytes`: object [values]."""
    pa, types = arrow(), arrow("types")
    null = _null(values)
    if types.is_dictionary(values.type):
        # Each text once, however many rows have it.
        known = texts_of(values.dictionary, name)
        indices = np.asarray(values.indices.fill_null(0), np.int64)
        errors = {
            place: known.errors[at]
            for place, at in enumerate(indices.tolist())
            if known.errors and at in known.errors
        }
        texts = known.values[indices] if len(known.values) else np.full(len(indices), b"", object)
        errors |= _nulls(null, name)
        texts[null] = b""
        return Fitted(texts, errors)
    data: list[bytes | None] = values.cast(pa.large_binary()).to_pylist()
    texts = np.full(len(data), b"", object)
    texts[:] = [each or b"" for each in data]
    errors = _nulls(null, name)
    if not _is_utf8(texts):
        errors |= {
            place: f"{name!r} is not UTF-8"
            for place, each in enumerate(texts)
            if not _is_utf8([each])
        }
    return Fitted(texts, errors)


def fitted_numbers(values: Any, tensor: InputTensor, name: str, *, is_parsed: bool) -> Fitted:
    """Numbers in an input's dtype.

    Args:
        values: An Arrow array of numbers, or of text that `is_parsed`.
        tensor: The input.
        name: Of the column, for error messages.
        is_parsed: Whether numbers are read from text.
    """
    types = arrow("types")
    if types.is_dictionary(values.type):
        values = values.dictionary_decode()
    errors: dict[int, str] = {}
    if is_parsed and not types.is_null(values.type):
        values, errors = _parsed(values, tensor, name)
    null = _null(values)
    want = np.dtype(tensor.numpy_dtype)
    numbers = _numpy(values, want)
    if want.kind != "f" and numbers.dtype.kind == "f":
        # Only floats have NaN.
        null |= np.isnan(numbers)
    if null.any():
        blank = math.nan if want.kind == "f" else 0
        takes_nan = tensor.fill is not None or (not tensor.finite and want.kind == "f")
        numbers = np.where(null, numbers.dtype.type(0), numbers)
        errors |= {} if takes_nan else _nulls(null & ~_at(errors, len(null)), name)
        fitted, bad = _in_dtype(numbers, want, name)
        fitted[null] = blank if tensor.fill is None else tensor.fill
        return Fitted(fitted, bad | errors)
    fitted, bad = _in_dtype(numbers, want, name)
    return Fitted(fitted, bad | errors)


def _numpy(values: Any, want: np.dtype[np.generic]) -> Array:
    """The values as numbers of NumPy, zero where they are null."""
    pa, types = arrow(), arrow("types")
    if types.is_null(values.type):
        return np.zeros(len(values), np.float64)
    if types.is_decimal(values.type):
        # A float has not all digits of a large whole number.
        whole = None if want.kind == "f" else _cast(values, pa.int64())
        values = values.cast(pa.float64(), safe=False) if whole is None else whole
    if types.is_float16(values.type):
        values = values.cast(pa.float32())
    filled = values.fill_null(False if types.is_boolean(values.type) else 0)
    return np.asarray(filled.to_numpy(zero_copy_only=False))


def _in_dtype(
    numbers: Array, want: np.dtype[np.generic], name: str
) -> tuple[Array, dict[int, str]]:
    """A copy in another dtype; numbers that it cannot hold are errors."""
    if want.kind in "ui":
        return in_integers(numbers, want, name)
    bad: NDArray[np.bool_] | None = None
    with np.errstate(over="ignore"):
        fitted = numbers.astype(want)
    if want.kind == "b":
        bad = (numbers != 0) & (numbers != 1)
    elif numbers.dtype.kind == "f" and not np.can_cast(numbers.dtype, want):
        bad = np.isinf(fitted) & np.isfinite(numbers)
    return fitted, {} if bad is None else _out_of_range(numbers, bad, want, name)


def in_integers(
    numbers: Array, want: np.dtype[np.generic], name: str
) -> tuple[Array, dict[int, str]]:
    """A copy in a dtype of integers; place of a fraction or of what is out of its range -> why.

    Args:
        numbers: [values], without NaN.
        want: The dtype.
        name: Of the column.
    """
    if np.can_cast(numbers.dtype, want):
        return numbers.astype(want), {}
    limits = np.iinfo(want.name)
    # The largest integers of 64 bits are no floats, and the next power of two is one.
    outside = np.less(numbers, limits.min) | np.greater_equal(numbers, limits.max + 1)
    errors = _out_of_range(numbers, outside, want, name)
    if numbers.dtype.kind == "f":
        broken = (numbers != np.trunc(numbers)) & ~outside
        why = f"in {name!r} is not a whole number, which the model takes"
        errors |= {place: f"{numbers[place]} {why}" for place in np.flatnonzero(broken).tolist()}
        numbers = np.where(outside | broken, numbers.dtype.type(0), numbers)
    return numbers.astype(want), errors


def _out_of_range(
    numbers: Array, outside: NDArray[np.bool_], want: np.dtype[np.generic], name: str
) -> dict[int, str]:
    why = f"in {name!r} is out of the range of {want}"
    return {place: f"{numbers[place]} {why}" for place in np.flatnonzero(outside).tolist()}


def _parsed(values: Any, tensor: InputTensor, name: str) -> tuple[Any, dict[int, str]]:
    """Numbers read from text, and the texts that are none."""
    is_float = np.dtype(tensor.numpy_dtype).kind == "f"
    number_type = arrow().float64() if is_float else arrow().int64()
    # Each step costs many times what the one before does.
    found = _cast(values, number_type)
    if found is None:
        values = _without_words(values)
        found = _cast(values, number_type)
    if found is None and not is_float:
        found = _small_floats(values)
    if found is not None:
        return found, {}
    numbers: list[float | int | None] = []
    errors: dict[int, str] = {}
    for place, text in enumerate(values.to_pylist()):
        number = None if text is None else _number(text, is_float=is_float)
        numbers.append(number)
        if text is not None and number is None:
            what = "a number" if is_float else "a whole number"
            errors[place] = f"{text[:_SHOWN]!r} in {name!r} is not {what}"
    return arrow().array(numbers, number_type), errors


def _cast(values: Any, number_type: Any) -> Any:
    try:
        return values.cast(number_type)
    except arrow().ArrowInvalid:
        return None


def _small_floats(values: Any) -> Any:
    """Whole numbers that pandas writes as 3.0 beside nulls, unless a float lacks their digits."""
    pc = arrow("compute")
    found = _cast(values, arrow().float64())
    largest = None if found is None else pc.max(pc.abs(found)).as_py()
    return found if largest is None or largest < _LARGEST_EXACT else None


def _without_words(values: Any) -> Any:
    """Texts without spaces around them; null for words that mean no number."""
    pa, pc = arrow(), arrow("compute")
    text = pc.utf8_trim_whitespace(values)
    lower = pc.utf8_lower(text)
    for words, number in ((_NO_NUMBER, None), (("true",), "1"), (("false",), "0")):
        is_word = pc.is_in(lower, value_set=pa.array(words, lower.type))
        text = pc.if_else(is_word, pa.scalar(number, text.type), text)
    return text


def _number(text: str, *, is_float: bool) -> float | int | None:
    pa = arrow()
    value = pa.scalar(text)
    if not is_float:
        with suppress(pa.ArrowInvalid):
            return int(value.cast(pa.int64()).as_py())
    try:
        number = value.cast(pa.float64())
        return float(number.as_py()) if is_float else int(number.cast(pa.int64()).as_py())
    except pa.ArrowInvalid:
        return None


def _null(values: Any) -> NDArray[np.bool_]:
    return np.asarray(values.is_null().to_numpy(zero_copy_only=False), np.bool_)


def _nulls(null: NDArray[np.bool_], name: str) -> dict[int, str]:
    return dict.fromkeys(np.flatnonzero(null).tolist(), f"null in {name!r}")


def _at(errors: dict[int, str], count: int) -> NDArray[np.bool_]:
    mask = np.zeros(count, np.bool_)
    mask[list(errors)] = True
    return mask


def _is_utf8(texts: Iterable[bytes]) -> bool:
    try:
        b"\0".join(texts).decode()
    except UnicodeDecodeError:
        return False
    return True
