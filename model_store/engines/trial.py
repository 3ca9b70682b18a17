"""A first load of an artifact: it must reproduce its golden batch, in calls as a worker makes."""

import functools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fornada.formats.rows import Rows
from fornada.formats.tensor_file import Tensor
from model_store.engines.artifact.work import Work
from model_store.engines.golden import check_golden, refusal_by
from model_store.engines.interface import Compile, Engine
from model_store.engines.open_sizes import open_tile_items
from model_store.golden_batch import from_golden
from model_store.wall.limits import forget_peak, peak_bytes, resident_bytes
from model_store.wall.messages import CallCost, Check, Passed

_TILE_ITEMS = 32
#: Calls of which the shortest counts, and the seconds after which there is no other.
_TRIES, _ENOUGH_S = 3, 0.1


def trial_tile(work: Work) -> int:
    """Rows of a call over a golden batch: one, where it takes much memory on its way."""
    return _TILE_ITEMS if work.is_light else 1


def check(request: Check, engine: Engine) -> Passed:
    """Load an artifact, compare what it gives with its golden batch, and measure its calls.

    Args:
        request: Says what and where.
        engine: From `open_for_trial`.

    Raises:
        ModelRefusedError: It is unsafe, does not load, or gives something else.
        ConfigError: An allowed object cannot be imported.
    """
    model = engine.load(
        Path(request.artifact),
        where=request.where,
        takes=request.inputs,
        gives=request.outputs,
        allowed_objects=request.allowed_objects,
    )
    inputs = _golden(request.golden_inputs, request.inputs)
    outputs = _golden(request.golden_outputs, request.outputs)
    tiles = _tiles(request, model.work, inputs.shapes)
    compile_for = functools.cache(model.compile)
    compared = slice(model.work.golden_items(tiles[0]))
    check_golden(
        compile_for(tiles[0]),
        inputs=inputs[compared],
        outputs=outputs[compared],
        tile_items=tiles[0],
        where=f"{request.where} on {engine.name}",
        tolerance=engine.tolerance,
        error=refusal_by(engine.framework, golden_framework=request.golden_framework),
    )
    calls = _Calls(compile_for, inputs)
    costs = list(calls.costs(tiles))
    return Passed(engine=engine.name, peak_bytes=calls.peak_bytes, calls=costs)


def _tiles(request: Check, work: Work, item_shapes: Sequence[Sequence[int]]) -> list[int]:
    """The rows of the calls to make: fewer first, for workers with little memory."""
    if any(tensor.is_open for tensor in request.inputs):
        return [open_tile_items(item_shapes)]
    if request.tile_items is not None:
        return [request.tile_items]
    return sorted({min(_TILE_ITEMS, work.call_items), work.call_items})


class _Calls:
    """Makes calls, and measures what they take."""

    def __init__(self, compile_for: Compile, items: Rows) -> None:
        self._compile_for, self._items = compile_for, items
        #: The most memory that the process has taken.
        self.peak_bytes = peak_bytes()

    def costs(self, tiles: Sequence[int]) -> Iterator[CallCost]:
        """Of calls of these rows, as far as memory goes."""
        for number, tile_items in enumerate(tiles):
            try:
                yield self._cost(tile_items)
            except MemoryError:
                if number == 0:
                    raise
                # A worker makes do with fewer rows.
                return

    def _cost(self, tile_items: int) -> CallCost:
        predict = self._compile_for(tile_items)
        before_bytes = resident_bytes()
        # The golden items, over and over.
        rows = self._items[np.arange(tile_items) % len(self._items)]
        # The first call prepares.
        predict(rows)
        self.peak_bytes = max(self.peak_bytes, peak_bytes())
        forget_peak()
        durations_s: list[float] = []
        # A disturbed call is not to pass for a long one.
        while len(durations_s) < _TRIES and sum(durations_s) < _ENOUGH_S:
            began_s = time.perf_counter()
            predict(rows)
            durations_s.append(time.perf_counter() - began_s)
        self.peak_bytes = max(self.peak_bytes, peak_bytes())
        return CallCost(
            tile_items=tile_items,
            peak_bytes=max(0, peak_bytes() - before_bytes),
            duration_s=min(durations_s),
        )


def _golden(path: str, tensors: Sequence[Tensor]) -> Rows:
    return from_golden(Path(path).read_bytes(), tensors, where=f"the golden batch ({path})")
