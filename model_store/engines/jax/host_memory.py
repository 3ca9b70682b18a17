"""Memory of this process from which JAX computes on the CPU without copying it."""

import math
from typing import Any

import numpy as np

from fornada.formats.items import Array

#: With less alignment JAX copies what it is given, in another thread.
_ALIGNED_BYTES = 64


def is_aligned(array: Array) -> bool:
    """Whether JAX computes from an array as it is."""
    return array.flags.c_contiguous and array.ctypes.data % _ALIGNED_BYTES == 0


class HostMemory:
    """Memory for one input of a call, used again by the next one."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        size_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        memory = np.empty(size_bytes + _ALIGNED_BYTES, np.uint8)
        start = -memory.ctypes.data % _ALIGNED_BYTES
        self._items: Array = memory[start : start + size_bytes].view(dtype).reshape(shape)

    def holding(self, items: Array) -> Array:
        """`items`, or a copy of them that lasts until the next call.

        Raises:
            ValueError: They have another shape or dtype.
        """
        if (items.shape, items.dtype) != (self._items.shape, self._items.dtype):
            raise ValueError(
                f"{items.dtype} {items.shape}, and the call takes {self._items.dtype} "
                f"{self._items.shape}"
            )
        if is_aligned(items):
            return items
        np.copyto(self._items, items)
        return self._items

    def kept(self, output: Array) -> Array:
        """An output that the next call leaves as it is: a model may give an input again."""
        return output.copy() if np.may_share_memory(output, self._items) else output
