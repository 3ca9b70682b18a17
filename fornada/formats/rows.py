"""Rows: the items of a call, or what a model gives for them, in one array a tensor."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array


class _Named(Protocol):
    @property
    def name(self) -> str: ...


class Rows:
    """Arrays of one length, in the order of a model's inputs or outputs; row n of each is item n.

    All items have the same shapes. Strings are arrays of dtype object that hold `bytes`, in UTF-8.
    """

    __slots__ = ("arrays",)

    def __init__(self, *arrays: Array) -> None:
        self.arrays = arrays

    @classmethod
    def of(cls, named: Mapping[str, Array], tensors: Sequence[_Named]) -> "Rows":
        """The rows of arrays that have the names of `tensors`."""
        return cls(*(named[tensor.name] for tensor in tensors))

    @classmethod
    def joined(cls, parts: Sequence["Rows"]) -> "Rows":
        """The rows of all parts, whose shapes are the same."""
        if len(parts) == 1:
            return parts[0]
        columns = zip(*(part.arrays for part in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    @property
    def only(self) -> Array:
        """The array of the only tensor."""
        (array,) = self.arrays
        return array

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of an item in each array."""
        return tuple(array.shape[1:] for array in self.arrays)

    @property
    def size_bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(map(size_bytes, self.arrays))

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, wanted: slice | NDArray[np.generic] | list[int]) -> "Rows":
        """Some of the rows; a slice copies nothing."""
        return Rows(*(array[wanted] for array in self.arrays))

    def named(self, tensors: Sequence[_Named]) -> dict[str, Array]:
        """Each array by the name of its tensor."""
        return dict(zip((tensor.name for tensor in tensors), self.arrays, strict=True))

    def padded(self, row_count: int) -> "Rows":
        """The rows, and blank ones up to `row_count`."""
        return tile_of([self], row_count)


def blank_rows(row_count: int, shapes: Sequence[Sequence[int]], dtypes: Sequence[Any]) -> Rows:
    """Rows of zeros, and of empty strings."""
    return Rows(
        *(blank([row_count, *shape], dtype) for shape, dtype in zip(shapes, dtypes, strict=True))
    )


def tile_of(parts: Sequence[Rows], row_count: int) -> Rows:
    """The rows of all parts, whose shapes are the same, and blank ones up to `row_count`."""
    first = parts[0]
    if len(parts) == 1 and len(first) == row_count:
        return first
    tile = blank_rows(row_count, first.shapes, [array.dtype for array in first.arrays])
    start = 0
    for part in parts:
        for into, array in zip(tile.arrays, part.arrays, strict=True):
            into[start : start + len(part)] = array
        start += len(part)
    return tile


def blank(shape: Sequence[int], dtype: Any) -> Array:
    """An array of zeros, or of empty strings."""
    of = np.dtype(dtype)
    return np.full(shape, b"", object) if of.hasobject else np.zeros(shape, of)


def size_bytes(array: Array) -> int:
    """Bytes of an array, those of its strings too."""
    if not array.dtype.hasobject:
        return array.nbytes
    return array.nbytes + sum(map(len, array.ravel().tolist()))
