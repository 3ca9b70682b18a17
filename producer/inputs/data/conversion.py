"""One object that holds numbers, as a NumPy array, by the protocols that it speaks."""

import array
import math
import sys
from collections.abc import Sequence
from datetime import date, time, timedelta
from numbers import Number
from typing import Any

import numpy as np

from fornada.errors import InputError
from fornada.formats.items import Array
from fornada.formats.nesting import holds_texts

_PROTOCOLS = ("__array__", "__array_interface__", "__array_struct__", "__dlpack__")
_ARRAYS = (np.ndarray, np.generic, bytearray, memoryview, array.array)
_SEQUENCES = (list, tuple, np.ndarray)
_SCALARS = (Number, str, bytes, date, time, timedelta, np.generic, type(None))
#: NumPy's own limit.
_MAX_AXES = 64


def instance_of(value: object, module: str, name: str) -> bool:
    """Whether `value` is of a class of a package that need not be installed, and is not imported.

    Whoever has such an object has imported its module.
    """
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def type_name(value: object) -> str:
    """The type of `value`, for error messages."""
    return type(value).__name__


def is_array_like(value: object) -> bool:
    """Whether `value` is one array for `as_array`: anything but nested lists."""
    if isinstance(value, _ARRAYS):
        return True
    # Classes, not instances: `__getattr__` of a proxy may answer to any name.
    if any(hasattr(type(value), protocol) for protocol in _PROTOCOLS):
        return True
    return hasattr(value, "__array_interface__") or _is_ragged(value)


def is_scalar(value: object) -> bool:
    """Whether `value` is one number, text, date or None."""
    return isinstance(value, _SCALARS)


def is_numbers(value: object) -> bool:
    """Whether `value` is a number, a list of numbers, or of lists of them, and so on."""
    if isinstance(value, Number | range):
        return True
    for _ in range(_MAX_AXES):
        if not isinstance(value, list | tuple) or not value:
            break
        first = next((part for part in value if part is not None), None)
        if is_scalar(first):
            # Bytes may be image files.
            return not isinstance(first, bytes) and all(map(is_scalar, value))
        if not all(part is None or isinstance(part, list | tuple) for part in value):
            break
        value = first
    return False


def is_texts(value: object) -> bool:
    """Whether `value` is a text, a list of texts, or of lists of them, and so on."""
    for _ in range(_MAX_AXES):
        if not isinstance(value, list | tuple):
            break
        value = next((part for part in value if part is not None), None)
    return isinstance(value, str | bytes)


def as_array(value: object, *, of_text: bool = False, where: str) -> Array:
    """The numbers of `value`, without a copy where that is possible; masks are kept.

    Args:
        value: An array, a tensor, a buffer, or nested lists of numbers.
        of_text: Whether lists hold texts, which stay the objects that they are.
        where: For error messages.

    Returns:
        One array; objects [parts] where `value` is a list of parts that differ in shape.

    Raises:
        InputError: It gives no array.
    """
    try:
        if isinstance(value, list | tuple) and (of_text or holds_texts(value)):
            return np.asarray(value, object)
        found = _converted(value)
    except MemoryError:
        raise
    except Exception as exc:
        if isinstance(value, list | tuple):
            return in_cells(value)
        raise _no_array(value, exc, where=where) from exc
    return found


def is_stored(value: object) -> bool:
    """Whether `value` is an array elsewhere, as those of h5py and Zarr, which is read by rows."""
    return is_array_like(value) and hasattr(type(value), "chunks")


def stored_shape(value: Any, *, where: str) -> tuple[int, ...]:
    """The shape of a stored array.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return tuple(map(int, value.shape))
    except MemoryError:
        raise
    except Exception as exc:
        raise _no_array(value, exc, where=where) from exc


def rows_of(value: Any, first: int, count: int, *, where: str) -> Array:
    """Some rows of a stored array.

    Raises:
        InputError: They cannot be read.
    """
    try:
        return np.asarray(value[first : first + count])
    except MemoryError:
        raise
    except Exception as exc:
        raise _no_array(value, exc, where=where) from exc


def _no_array(value: object, exc: Exception, *, where: str) -> InputError:
    fact = (str(exc).splitlines() or [""])[0][:200]
    return InputError(
        f"{where} is {type_name(value)}, which gives no array ({type(exc).__name__}: {fact}); "
        "give it as a NumPy array"
    )


def in_cells(parts: Sequence[object]) -> Array:
    """Parts of any shapes as an array of objects [parts]."""
    cells = np.empty(len(parts), object)
    for number, part in enumerate(parts):
        cells[number] = part
    return cells


def unfolded(cells: Array, *, of_text: bool = False) -> Array | None:
    """Turn objects that are sequences, such as a column of lists, into further axes.

    Args:
        cells: The objects.
        of_text: Whether sequences hold texts, which stay the objects that they are.

    Returns:
        `cells` itself if they are not sequences; `None` if those differ in shape.
    """
    first = next((cell for cell in cells.flat if isinstance(cell, _SEQUENCES)), None)
    if first is None or isinstance(cells, np.ma.MaskedArray):
        return cells
    try:
        shape = np.shape(first)
        null = np.full(shape, None).tolist()
        kind = object if of_text or any(map(holds_texts, cells.flat)) else None
        filled = [null if cell is None else np.asarray(cell, kind).tolist() for cell in cells.flat]
        whole = np.asarray(filled, kind)
        if whole.size != cells.size * math.prod(shape) or whole.ndim != 1 + len(shape):
            return None
        return whole.reshape(*cells.shape, *shape)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - NumPy raises what an object raises
        return None


def _converted(value: Any) -> Array:
    if isinstance(value, np.ma.MaskedArray):
        return value
    if instance_of(value, "torch", "Tensor"):
        # Wherever it is, and whether or not it has a gradient.
        return _of_torch(value)
    if _is_ragged(value):
        return in_cells(value.to_list())
    if hasattr(type(value), "__dlpack__") and not hasattr(type(value), "__array__"):
        return np.from_dlpack(value)
    return np.asarray(value)


def _is_ragged(value: object) -> bool:
    return instance_of(value, "tensorflow", "RaggedTensor")


def _of_torch(tensor: Any) -> Array:
    try:
        return np.asarray(tensor.numpy(force=True))
    except TypeError:
        # NumPy lacks the dtype, such as bfloat16.
        return np.asarray(tensor.float().numpy(force=True))
