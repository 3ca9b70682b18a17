"""Items, the arrays that models take, and the check that an array holds them."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError
from fornada.tensors import InputTensor, OutputTensor, array_dtype, takes

Array = NDArray[np.generic]

#: What raw items of a dtype are called.
_RAW = {"uint8": "pixels", "bool": "zeros and ones"}


def item_size_bytes(item_shape: Sequence[int], item_dtype: str) -> int:
    """Bytes of one item; at least 1, so that it can divide."""
    return max(1, math.prod(item_shape) * np.dtype(item_dtype).itemsize)


def fixed_bytes(tensors: Sequence[InputTensor | OutputTensor]) -> int:
    """Bytes of an item in some tensors, as far as they are the same for all items."""
    return sum(bytes_with(t, ()) for t in tensors if not t.is_open and t.dtype != "string")


def bytes_with(tensor: InputTensor | OutputTensor, sides: Sequence[int]) -> int:
    """Bytes of an item in a tensor, whose open sides are `sides`, and 1 from there on."""
    left = iter(sides)
    shape = [next(left, 1) if side is None else side for side in tensor.shape]
    return math.prod(shape) * np.dtype(tensor.numpy_dtype).itemsize


def fitted_shape(have: Sequence[int], want: Sequence[int | None]) -> tuple[int, ...] | None:
    """The shape of items of shape `have` for a model that takes `want`; `None` if they do not fit.

    A last axis of length 1 is added or dropped to fit, since grey images come both ways.
    """
    shape = tuple(have)
    if takes(shape, want):
        return shape
    if want and want[-1] == 1 and takes(shape, want[:-1]):
        return (*shape, 1)
    if shape[-1:] == (1,) and takes(shape[:-1], want):
        return shape[:-1]
    return None


def check_shape(
    shape: Sequence[int], item_shape: Sequence[int | None], *, model: str, where: str
) -> tuple[int, ...]:
    """The shape of the items that an array of `shape` holds, a last axis of 1 added or dropped.

    Raises:
        InputError: They do not fit, or there are none.
    """
    have, want = tuple(shape), tuple(item_shape)
    if not have:
        raise InputError(f"{where} is a single value, and {model} takes {want}; give an array")
    if 0 in have:
        raise InputError(f"{where}: the array of shape {have} is empty; give at least one item")
    fitted = fitted_shape(have[1:], want)
    if fitted is None:
        hint = " (one item? give it a leading axis: array[numpy.newaxis])"
        raise InputError(
            f"{where}: items of shape {have[1:]}, but {model} takes {want}"
            f"{hint if fitted_shape(have, want) else ''}; resize images, pad or cut sequences "
            "before you submit"
        )
    return fitted


def non_finite_rows(outputs: Array) -> dict[int, str]:
    """Number of a row of a model's outputs with NaN or infinity -> the reason that it fails."""
    if outputs.dtype.kind != "f":
        return {}
    finite = np.isfinite(outputs)
    if finite.all():
        # A tenth of the time of looking at each row.
        return {}
    return {
        int(row): f"the model gave {'NaN' if np.isnan(outputs[row]).any() else 'infinity'}"
        for row in np.flatnonzero(~finite.reshape(len(outputs), -1).all(axis=1))
    }


def check_items(
    array: Array,
    *,
    item_shape: Sequence[int | None],
    item_dtype: str,
    model: str,
    where: str = "inputs",
) -> Array:
    """Return `array` as items that `model` takes: `item_dtype` [items, *item_shape].

    A last axis of length 1 is added or dropped to fit, since grey images come both ways. Integers
    become any dtype that holds them, and all numbers become floats, rounded to the nearest. NaN and
    infinity pass: they are the fault of their items alone.

    Raises:
        InputError: The array is empty, or its shape, dtype or an integer does not fit.
    """
    fitted = check_shape(array.shape, item_shape, model=model, where=where)
    if array.dtype.kind not in "buif":
        raise InputError(f"{where}: dtype {array.dtype} is not numeric; {model} takes {item_dtype}")
    want = np.dtype(array_dtype(item_dtype))
    items = _fit_dtype(array, want, model=model, where=where)
    return items if items.shape[1:] == fitted else items.reshape(len(items), *fitted)


def _fit_dtype(array: Array, want: np.dtype[np.generic], *, model: str, where: str) -> Array:
    if array.dtype == want:
        return array
    if want.kind == "f":
        with np.errstate(over="ignore"):
            return array.astype(want)
    if np.can_cast(array.dtype, want):
        return array.astype(want)
    if want.kind == "b" and bool(((array == 0) | (array == 1)).all()):
        return array.astype(want)
    if array.dtype.kind in "ui":
        low, high = _limits(want)
        if low <= int(array.min()) and int(array.max()) <= high:
            return array.astype(want)
        raise InputError(
            f"{where}: values from {array.min()} to {array.max()} do not fit {want}, which {model} "
            "takes; scale them before you submit"
        )
    raise InputError(
        f"{where}: dtype {array.dtype}, but {model} takes {want}; scaling is inside the model, so "
        f"give the raw {_RAW.get(want.name, 'tokens')} as {want}"
    )


def _limits(integers: np.dtype[np.generic]) -> tuple[int, int]:
    if integers.kind == "b":
        return 0, 1
    limits = np.iinfo(integers.name)
    return limits.min, limits.max
