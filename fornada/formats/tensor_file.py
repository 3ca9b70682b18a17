"""The items of several tensors, of text or of varying shapes as one safetensors file.

A tensor of fixed shape is an array by its name. Of a tensor NAME of strings or with open sides,
`NAME.values` holds all items one after the other, strings as UTF-8 bytes; so does it of image files
that are to become an input's items. `NAME.offsets` says where each string or file begins, or each
item if they are numbers, and where the last one ends. `NAME.shapes` has the shape of each item,
unless it follows from the offsets.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fornada.errors import InputError
from fornada.formats.items import Array
from fornada.formats.rows import size_bytes
from fornada.tensors import Shape, array_dtype, text_of

#: What all items hold of one tensor: an array with a row an item, or an array an item where its
#: shape is open.
Column = Array | list[Array]

#: Dtypes whose values are stored as bytes, and where each begins.
_OF_BYTES = ("string", "bytes")
_LITTLE_ENDIAN_INT64 = np.dtype("<i8")


class Tensor(Protocol):
    """An input or output of a model."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def dtype(self) -> str:
        """Its dtype, `string` for texts and `bytes` for files."""

    @property
    def shape(self) -> Shape:
        """The shape of an item; `None` where a side varies."""


@dataclass(frozen=True, slots=True)
class FilesTensor:
    """The image files of an input, in place of the items that they become: `bytes` [items]."""

    name: str
    dtype: str = "bytes"
    shape: Shape = field(default_factory=list)


def column_bytes(column: Column) -> int:
    """Bytes of what all items hold of one tensor."""
    return sum(map(size_bytes, column)) if isinstance(column, list) else size_bytes(column)


def needs_tensor_file(tensors: Sequence[Tensor]) -> bool:
    """Whether `.npy`, one array of numbers, cannot hold items of these tensors."""
    return len(tensors) > 1 or any(t.dtype in _OF_BYTES or None in t.shape for t in tensors)


def to_tensor_file(columns: Mapping[str, Column], tensors: Sequence[Tensor]) -> bytes:
    """The bytes of a file that holds what `columns` do, by the names of `tensors`."""
    stored: dict[str, Array] = {}
    for tensor in tensors:
        stored |= stored_arrays(columns[tensor.name], tensor)
    return save(stored)


def from_tensor_file(
    data: bytes, tensors: Sequence[Tensor], *, item_count: int | None = None, where: str
) -> dict[str, Column]:
    """What a file holds of each tensor, read-only and without a copy of numbers.

    Args:
        data: The file.
        tensors: What it has to hold.
        item_count: Of how many items; `None` for any number.
        where: What the bytes were read from, for error messages.

    Raises:
        InputError: It is no such file, or holds something else.
    """
    try:
        stored = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as exc:
        raise InputError(
            f"{where} is not a readable safetensors file ({str(exc)[:200]}); write it again"
        ) from exc
    columns: dict[str, Column] = {}
    for tensor in tensors:
        columns[tensor.name] = _column(stored, tensor, where=where)
    if stored:
        raise InputError(
            f"{where} holds {min(stored)[:80]!r}, which is no tensor of "
            f"{', '.join(tensor.name for tensor in tensors)}; write it again"
        )
    counts = {name: len(column) for name, column in columns.items()}
    if len({*counts.values(), *([] if item_count is None else [item_count])}) > 1:
        raise InputError(
            f"{where} holds {', '.join(f'{n} items of {name}' for name, n in counts.items())}"
            f"{'' if item_count is None else f', and the job says {item_count}'}; write it again"
        )
    return columns


def stored_arrays(column: Column, tensor: Tensor) -> dict[str, Array]:
    """The arrays of a tensor in such a file, by their names."""
    name, is_open = tensor.name, None in tensor.shape
    if tensor.dtype in _OF_BYTES:
        cells = column if isinstance(column, list) else [column]
        texts: list[bytes] = [text for cell in cells for text in cell.ravel().tolist()]
        stored: dict[str, Array] = {
            f"{name}.values": np.frombuffer(b"".join(texts), np.uint8),
            f"{name}.offsets": _offsets(map(len, texts)),
        }
        return {**stored, f"{name}.shapes": _shapes(column, tensor)} if is_open else stored
    if not is_open:
        return {name: np.ascontiguousarray(column)}
    flat = [np.ascontiguousarray(item).reshape(-1) for item in column]
    empty = np.zeros(0, array_dtype(tensor.dtype))
    stored = {
        f"{name}.values": np.concatenate([empty, *flat]),
        f"{name}.offsets": _offsets(item.size for item in flat),
    }
    return (
        stored if len(tensor.shape) == 1 else {**stored, f"{name}.shapes": _shapes(column, tensor)}
    )


def _offsets(sizes: Iterable[int]) -> NDArray[np.int64]:
    return np.fromiter(itertools.accumulate(sizes, initial=0), np.int64)


def _shapes(column: Column, tensor: Tensor) -> NDArray[np.int64]:
    shapes = [item.shape for item in column]
    return np.array(shapes, np.int64).reshape(len(shapes), len(tensor.shape))


def _column(stored: dict[str, Array], tensor: Tensor, *, where: str) -> Column:
    """Take what `stored` has of a tensor out of it."""
    is_text = tensor.dtype in _OF_BYTES
    dtype = np.dtype("uint8" if is_text else array_dtype(tensor.dtype))
    if not is_text and None not in tensor.shape:
        array = _taken(stored, tensor.name, dtype, len(tensor.shape) + 1, where=where)
        if list(array.shape[1:]) != list(tensor.shape):
            raise _differs(tensor, text_of([None, *array.shape[1:]]), where=where)
        return array
    values = _taken(stored, f"{tensor.name}.values", dtype, 1, where=where)
    offsets = _checked_offsets(stored, tensor, len(values), where=where)
    shapes = _checked_shapes(stored, tensor, offsets, where=where)
    cells = _texts(values, offsets, tensor, where=where) if is_text else values
    if shapes is None:
        sides = [side or 0 for side in tensor.shape]
        return cells.reshape(-1, *sides) if math.prod(sides) else cells.reshape(0, *sides)
    ends = np.cumsum(shapes.prod(axis=1)) if is_text else offsets[1:]
    starts = np.concatenate([[0], ends[:-1]])
    return [
        cells[start:end].reshape(shape)
        for start, end, shape in zip(starts.tolist(), ends.tolist(), shapes.tolist(), strict=True)
    ]


def _checked_offsets(
    stored: dict[str, Array], tensor: Tensor, value_count: int, *, where: str
) -> NDArray[np.int64]:
    name = f"{tensor.name}.offsets"
    offsets = np.asarray(_taken(stored, name, _LITTLE_ENDIAN_INT64, 1, where=where), np.int64)
    rises = len(offsets) and offsets[0] == 0 and offsets[-1] == value_count
    if not rises or bool((np.diff(offsets) < 0).any()):
        raise InputError(
            f"{where}: {name} does not rise from 0 to {value_count}, the size of its values; "
            "write it again"
        )
    return offsets


def _checked_shapes(
    stored: dict[str, Array], tensor: Tensor, offsets: NDArray[np.int64], *, where: str
) -> NDArray[np.int64] | None:
    """The shape of each item; `None` where it is fixed."""
    cell_count = len(offsets) - 1
    if None not in tensor.shape:
        width = math.prod(side or 0 for side in tensor.shape)
        if cell_count % max(1, width) or (not width and cell_count):
            raise _differs(tensor, f"{cell_count} strings", where=where)
        return None
    if tensor.dtype != "string" and len(tensor.shape) == 1:
        return np.diff(offsets)[:, np.newaxis]
    name, rank = f"{tensor.name}.shapes", len(tensor.shape)
    shapes = np.asarray(_taken(stored, name, _LITTLE_ENDIAN_INT64, 2, where=where), np.int64)
    # In floats, since a product of forged sides may be over 64 bits.
    sizes = np.prod(shapes, axis=1, dtype=np.float64) if shapes.shape[1:] == (rank,) else None
    if tensor.dtype == "string":
        fits = sizes is not None and sizes.sum() == cell_count
    else:
        fits = sizes is not None and np.array_equal(sizes, np.diff(offsets))
    if not fits or bool((shapes < 0).any()):
        raise _differs(tensor, f"shapes of {cell_count} values", where=where)
    return shapes


def _texts(
    values: Array, offsets: NDArray[np.int64], tensor: Tensor, *, where: str
) -> NDArray[np.object_]:
    data, ends = values.tobytes(), offsets.tolist()
    try:
        if tensor.dtype == "string":
            data.decode()
    except UnicodeDecodeError as exc:
        raise InputError(f"{where}: {tensor.name} is not UTF-8 ({exc}); write it again") from exc
    texts = np.empty(len(ends) - 1, object)
    texts[:] = [data[start:end] for start, end in itertools.pairwise(ends)]
    return texts


def _taken(
    stored: dict[str, Array], name: str, dtype: np.dtype[np.generic], rank: int, *, where: str
) -> Array:
    if name not in stored:
        raise InputError(f"{where} lacks {name!r}, which the job takes; write it again")
    array = stored.pop(name)
    if array.dtype != dtype or array.ndim != rank:
        raise InputError(
            f"{where}: {name} is {array.dtype} of {array.ndim} axes, not {dtype} of {rank}; write "
            "it again"
        )
    array.flags.writeable = False
    return array


def _differs(tensor: Tensor, has: str, *, where: str) -> InputError:
    return InputError(
        f"{where}: {tensor.name} has {has}, and the job says {tensor.dtype} "
        f"{text_of(tensor.shape)}; write it again"
    )
