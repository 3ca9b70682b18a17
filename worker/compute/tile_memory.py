"""Memory of one thread's tiles, which is filled anew for each call."""

from collections.abc import Sequence

import numpy as np

from fornada.formats.items import Array
from fornada.formats.rows import Rows


class TileMemory:
    """Puts rows of several callers together, always in the same memory.

    New memory of megabytes costs more than the copy: the kernel clears each page of it.
    """

    def __init__(self) -> None:
        self._arrays: list[Array] = []

    def tile_of(self, parts: Sequence[Rows], row_count: int) -> Rows:
        """As `fornada.formats.rows.tile_of`, in memory that holds until the next call."""
        first = parts[0]
        if len(parts) == 1 and len(first) == row_count:
            return first
        tile = self._memory(first, row_count)
        start = 0
        for part in parts:
            for into, array in zip(tile, part.arrays, strict=True):
                into[start : start + len(part)] = array
            start += len(part)
        for into in tile:
            into[start:] = 0
        return Rows(*tile)

    def _memory(self, like: Rows, row_count: int) -> list[Array]:
        """Arrays of `row_count` rows of this kind; new ones where the memory has fewer."""
        fits = len(self._arrays) == len(like.arrays) and all(
            len(held) >= row_count and (held.shape[1:], held.dtype) == (a.shape[1:], a.dtype)
            for held, a in zip(self._arrays, like.arrays, strict=True)
        )
        if not fits:
            self._arrays = [np.empty((row_count, *a.shape[1:]), a.dtype) for a in like.arrays]
        return [held[:row_count] for held in self._arrays]
