"""Measure a light model with calls of several sizes, and tell which is best."""

import math
from collections.abc import Callable, Sequence

from pydantic import Field

from fornada.formats.rows import blank_rows
from fornada.records import Record
from model_store.engines.interface import Compile
from model_store.manifest import ModelManifest

#: Returns the clock and the processor time of the process, in seconds.
Stopwatch = Callable[[], tuple[float, float]]

#: The first candidate measured. If its call takes longer than `_LONG_S`, the smallest is first.
_FIRST = 64
_LONG_S = 0.001
#: Fixed cost of a call beyond compute, under GIL contention; measured from store to store.
_CALL_OVERHEAD_S = 0.00005
#: Items that arrive together, of which the last tile is on average half padding.
_TOGETHER = 4096
#: Longer calls make the rows of other callers wait.
_LONGEST_S = 0.05
#: Measurements per candidate, of which the shortest counts, and the duration of each.
_TRIES = 4
_TRY_S = 0.004


class Trial(Record):
    """The cost of an item at one number of rows per call."""

    tile_items: int = Field(ge=1)
    item_us: float = Field(ge=0)


class TileBench:
    """Measures a model with tiles of several sizes."""

    def __init__(
        self,
        manifest: ModelManifest,
        compile_for: Compile,
        *,
        tiles: Sequence[int],
        stopwatch: Stopwatch,
    ) -> None:
        self._compile_for = compile_for
        self._tiles = tiles
        self._takes = manifest.inputs
        self._stopwatch = stopwatch
        self._calls: dict[int, Callable[[], object]] = {}
        #: Core seconds of a call, by tile.
        self._busy_s: dict[int, float] = {}

    def best(self) -> int:
        """The largest tile up to which every step made an item cheaper."""
        first = max(tile for tile in self._tiles if tile <= _FIRST)
        is_slow = self._call_s(first) > _LONG_S
        tile = self._tiles[0] if is_slow else first
        for larger in (t for t in self._tiles if t > tile):
            too_long = self._call_s(tile) * larger / tile > _LONGEST_S
            if too_long or not self._extrapolates_cheaper(larger):
                break
            self._measure(tile, larger)
            if _item_s(larger, self._busy_s[larger]) >= _item_s(tile, self._busy_s[tile]):
                break
            tile = larger
        return tile

    def trials(self) -> list[Trial]:
        """The measurements."""
        return [
            Trial(tile_items=tile, item_us=round(1e6 * _item_s(tile, busy_s), 3))
            for tile, busy_s in sorted(self._busy_s.items())
        ]

    def _extrapolates_cheaper(self, larger: int) -> bool:
        """Whether an item would be cheaper if the cost of a call kept growing at the same rate."""
        if not self._busy_s:
            return True
        (t1, busy1_s), (t2, busy2_s) = sorted(self._busy_s.items())[-2:]
        busy_s = busy2_s + (larger - t2) * (busy2_s - busy1_s) / (t2 - t1)
        return _item_s(larger, busy_s) < _item_s(t2, busy2_s)

    def _measure(self, *tiles: int) -> None:
        """Time the tiles alternately, so that a disturbance hits all of them."""
        measured: dict[int, list[float]] = {tile: [] for tile in tiles}
        for _ in range(_TRIES):
            for tile in tiles:
                measured[tile].append(self._call_busy_s(tile))
        self._busy_s |= {tile: min(busy_s) for tile, busy_s in measured.items()}

    def _call_busy_s(self, tile: int) -> float:
        """Core seconds of a call.

        Processor time, which other processes hardly change. If it is less than half of the time
        by the clock, a GPU computes, and half of the clock's time counts.
        """
        call = self._call(tile)
        shortest_s, spent_s, cpu_s, calls = math.inf, 0.0, 0.0, 0
        while spent_s < _TRY_S:
            call_s, call_cpu_s = self._timed(call)
            shortest_s = min(shortest_s, call_s)
            spent_s, cpu_s, calls = spent_s + call_s, cpu_s + call_cpu_s, calls + 1
        return max(cpu_s / calls, shortest_s / 2)

    def _call_s(self, tile: int) -> float:
        """The time of one warm call."""
        return min(self._timed(self._call(tile))[0] for _ in range(2))

    def _timed(self, call: Callable[[], object]) -> tuple[float, float]:
        began = self._stopwatch()
        call()
        ended = self._stopwatch()
        return ended[0] - began[0], ended[1] - began[1]

    def _call(self, tile: int) -> Callable[[], object]:
        if tile not in self._calls:
            predict = self._compile_for(tile)
            rows = blank_rows(
                tile,
                [tensor.fixed_shape for tensor in self._takes],
                [tensor.numpy_dtype for tensor in self._takes],
            )
            predict(rows)
            self._calls[tile] = lambda: predict(rows)
        return self._calls[tile]


def _item_s(tile: int, busy_s: float) -> float:
    """The cost of an item, its share of overhead and padding included."""
    return (_CALL_OVERHEAD_S + busy_s) / tile * (1 + tile / 2 / _TOGETHER)
