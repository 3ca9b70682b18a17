"""Items, the arrays that models take, and the check that an array holds them."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError

DTYPES = ("uint8", "float32", "int32")

Array = NDArray[np.generic]


def item_size_bytes(item_shape: Sequence[int], item_dtype: str) -> int:
    """Bytes of one item; at least 1, so that it can divide."""
    return max(1, math.prod(item_shape) * np.dtype(item_dtype).itemsize)


def items_fit(have: Sequence[int], want: Sequence[int]) -> bool:
    """Whether items of shape `have` fit `want`, ignoring a last axis of length 1."""
    one, other = tuple(have), tuple(want)
    return one in {other, (*other, 1)} or (*one, 1) == other


def check_shape(shape: Sequence[int], item_shape: Sequence[int], *, model: str, where: str) -> None:
    """Check that rows of an array of `shape` are items, give or take a last axis of length 1.

    Raises:
        InputError: They are not, or there are none.
    """
    have, want = tuple(shape), tuple(item_shape)
    if 0 in have or not have:
        raise InputError(f"{where}: the array of shape {have} is empty; give at least one item")
    if not items_fit(have[1:], want):
        hint = " (one item? give it a leading axis: images[numpy.newaxis])" if have == want else ""
        raise InputError(
            f"{where}: items of shape {have[1:]}, but {model} takes {want}{hint}; resize images, "
            "pad or cut sequences before you submit"
        )


def non_finite_rows(outputs: NDArray[np.float32]) -> dict[int, str]:
    """Number of a row of a model's outputs with NaN or infinity -> the reason that it fails."""
    finite = np.isfinite(outputs).all(axis=1)
    return {
        int(row): f"the model gave {'NaN' if np.isnan(outputs[row]).any() else 'infinity'}"
        for row in np.flatnonzero(~finite)
    }


def fill_nulls(array: Array) -> tuple[Array, dict[int, str]]:
    """Zeros for nulls and masked values; number of a row that has one -> why it fails."""
    is_masked = isinstance(array, np.ma.MaskedArray)
    if array.ndim == 0 or not (is_masked or array.dtype == np.dtype(object)):
        return array, {}
    if is_masked:
        null, what = np.ma.getmaskarray(array), "a masked value"
    else:
        null = np.asarray(np.frompyfunc(lambda value: value is None, 1, 1)(array), np.bool_)
        what = "null"
    if null.all() and not is_masked:
        return array, {}
    rows = np.flatnonzero(null.reshape(len(array), -1).any(axis=1))
    plain = np.asarray(array)
    if len(rows):
        plain = np.where(null, 0, plain)
        plain = np.array(plain.tolist()) if plain.dtype == np.dtype(object) else plain
    return plain, {int(row): f"{what} among its values" for row in rows}


def check_items(
    array: Array, *, item_shape: Sequence[int], item_dtype: str, model: str, where: str = "images"
) -> Array:
    """Return `array` as items that `model` takes: `item_dtype` [items, *item_shape].

    A last axis of length 1 is added or dropped to fit, since grey images come both ways. NaN and
    infinity pass: they are the fault of their items alone.

    Raises:
        InputError: The array is empty, or its shape, dtype or an integer does not fit.
    """
    check_shape(array.shape, item_shape, model=model, where=where)
    numeric = "buif" if item_dtype == "bool" else "uif"
    if array.dtype.hasobject or array.dtype.kind not in numeric:
        raise InputError(f"{where}: dtype {array.dtype} is not numeric; {model} takes {item_dtype}")
    if array.shape[1:] != tuple(item_shape):
        array = array.reshape(len(array), *item_shape)
    return _fit_dtype(array, np.dtype(item_dtype), model=model, where=where)


def _fit_dtype(array: Array, want: np.dtype[np.generic], *, model: str, where: str) -> Array:
    if array.dtype == want:
        return array
    if want.kind == "f":
        with np.errstate(over="ignore"):
            return array.astype(want)
    if np.can_cast(array.dtype, want) or (want.kind == "b" and np.isin(array, (0, 1)).all()):
        return array.astype(want)
    if array.dtype.kind in "ui" and want.kind in "ui":
        limits = np.iinfo(want.name)
        if limits.min <= int(array.min()) and int(array.max()) <= limits.max:
            return array.astype(want)
        raise InputError(
            f"{where}: values from {array.min()} to {array.max()} do not fit {want}, which {model} "
            "takes; scale them before you submit"
        )
    raw = {"uint8": "pixels", "bool": "zeros and ones"}.get(want.name, "tokens")
    raise InputError(
        f"{where}: dtype {array.dtype}, but {model} takes {want}; scaling is inside the model, so "
        f"give the raw {raw} as {want}"
    )
