"""NumPy arrays as `.npy` bytes, with every claim checked before memory is taken."""

import hashlib
import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from fornada.errors import InputError

#: Magic, version and length, and the longest header that a plain array needs.
MAX_HEADER_BYTES = 10_000
DTYPES = ("uint8", "float32", "int32")

Array = NDArray[np.generic]


def sha256_hex(data: bytes | memoryview) -> str:
    """The sha256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def to_npy(array: Array) -> bytes:
    """`array` as the bytes of a `.npy` file, in C order."""
    buffer = io.BytesIO()
    npy_format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def read_npy_header(
    data: bytes, *, where: str
) -> tuple[tuple[int, ...], np.dtype[np.generic], int]:
    """Shape, dtype and length in bytes of a `.npy` header; takes no memory for the array.

    Args:
        data: At least the first `MAX_HEADER_BYTES` of the file, or all of a shorter one.
        where: What the bytes were read from, for the error message.

    Raises:
        InputError: It is no `.npy` file, or holds Python objects or columns.
    """
    stream = io.BytesIO(data[:MAX_HEADER_BYTES])
    try:
        version = npy_format.read_magic(stream)
        read = (
            npy_format.read_array_header_1_0
            if version == (1, 0)
            else npy_format.read_array_header_2_0
        )
        shape, fortran_order, dtype = read(stream, max_header_size=MAX_HEADER_BYTES)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as exc:
        raise InputError(
            f"{where} is not a readable .npy file ({_first_line(exc)}); "
            "write it with numpy.save(..., allow_pickle=False)"
        ) from exc
    if dtype.hasobject or dtype.names is not None:
        raise InputError(
            f"{where} holds Python objects or columns (dtype {dtype}), which are never loaded; "
            f"save a plain array of {', '.join(DTYPES)}"
        )
    if fortran_order and len(shape) > 1:
        raise InputError(
            f"{where} is stored in Fortran order; save numpy.ascontiguousarray(array) instead"
        )
    if any(side < 0 for side in shape):
        raise InputError(f"{where} claims the impossible shape {shape}; write the file again")
    return shape, dtype, stream.tell()


def from_npy(data: bytes, *, where: str) -> Array:
    """The array in the bytes of a `.npy` file, without a copy (read-only).

    Raises:
        InputError: It is no `.npy` file, holds objects, or its length is not what it claims.
    """
    shape, dtype, header_bytes = read_npy_header(data, where=where)
    claimed_bytes = math.prod(shape) * dtype.itemsize
    present_bytes = len(data) - header_bytes
    if claimed_bytes != present_bytes:
        raise InputError(
            f"{where} claims {claimed_bytes} bytes of data (shape {shape}, {dtype}) and has "
            f"{present_bytes}; it is truncated or damaged, write it again"
        )
    # Length over itemsize of zero-sized dtypes would divide by zero.
    if dtype.itemsize == 0:
        raise InputError(f"{where} has the empty dtype {dtype}; save one of {', '.join(DTYPES)}")
    count = claimed_bytes // dtype.itemsize
    return np.frombuffer(data, dtype=dtype, count=count, offset=header_bytes).reshape(shape)


def check_items(
    array: Array, *, item_shape: Sequence[int], item_dtype: str, model: str, where: str = "images"
) -> Array:
    """Return `array` as items that `model` takes: `item_dtype` [items, *item_shape].

    A trailing axis of length 1 is added or dropped to fit (grey images come both ways).

    Raises:
        InputError: Empty, or the shape, dtype or a value does not fit.
    """
    want = tuple(item_shape)
    if array.ndim == 0 or array.shape[0] == 0 or array.size == 0:
        raise InputError(
            f"{where}: the array of shape {array.shape} is empty; give at least one item"
        )
    if array.dtype.hasobject or array.dtype.kind not in "uif":
        raise InputError(f"{where}: dtype {array.dtype} is not numeric; {model} takes {item_dtype}")
    if array.shape[1:] != want:
        array = _fit_grey_axis(array, want, model=model, where=where)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0])
        raise InputError(
            f"{where}: item {bad} has NaN or infinity; replace or leave out such items"
        )
    return _fit_dtype(array, np.dtype(item_dtype), model=model, where=where)


def _fit_grey_axis(array: Array, want: tuple[int, ...], *, model: str, where: str) -> Array:
    have = array.shape[1:]
    if have == (*want, 1) or (*have, 1) == want:
        return array.reshape(len(array), *want)
    hint = (
        " (one item? give it a leading axis: images[numpy.newaxis])" if array.shape == want else ""
    )
    raise InputError(
        f"{where}: items of shape {have}, but {model} takes {want}{hint}; resize before you submit"
    )


def _fit_dtype(array: Array, want: np.dtype[np.generic], *, model: str, where: str) -> Array:
    if array.dtype == want:
        return array
    if want.kind == "f" or np.can_cast(array.dtype, want):
        return array.astype(want)
    if array.dtype.kind in "ui":
        limits = np.iinfo(want.name)
        if limits.min <= int(array.min()) and int(array.max()) <= limits.max:
            return array.astype(want)
        raise InputError(
            f"{where}: values from {array.min()} to {array.max()} do not fit {want}, which {model} "
            "takes; scale them before you submit"
        )
    raise InputError(
        f"{where}: dtype {array.dtype}, but {model} takes {want}; scaling is inside the model, so "
        f"give the raw pixels as {want}"
    )


def _first_line(exc: BaseException) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0][:200]
