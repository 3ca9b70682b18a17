"""The predict calls of a tile: what the model gives for each part, and why it fails on some."""

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fornada.errors import DeviceLostError, DeviceMemoryError, PredictionError
from fornada.formats.rows import Rows, tile_of
from fornada.jobs.items import Predicted
from fornada.tensors import InputTensor, OutputTensor, takes, text_of
from worker.compute.halving import predict_halves
from worker.compute.tile_memory import TileMemory
from worker.compute.tile_queue import Part, Tile

#: What the model gives for a part, or why its caller fails.
Result = Predicted | Exception


class TileCalls:
    """Makes the calls of one model, from any thread.

    Args:
        takes: The model's inputs.
        gives: Its outputs.
        on_computed: Called after each call with its rows, padding excluded and included, and its
            seconds.
    """

    def __init__(
        self,
        *,
        takes: Sequence[InputTensor],
        gives: Sequence[OutputTensor],
        on_computed: Callable[[int, int, float], object],
    ) -> None:
        self._is_open = any(tensor.is_open for tensor in takes)
        self._gives = gives
        #: Looked up once: the check of a call would spend most of its time on them.
        self._given = [(np.dtype(tensor.numpy_dtype), tensor.shape) for tensor in gives]
        self._on_computed = on_computed

    def results(self, tile: Tile, memory: TileMemory) -> Iterator[tuple[Part, Result]]:
        """Each part with its result.

        Args:
            tile: Its rows.
            memory: That of the calling thread.

        Raises:
            DeviceMemoryError: The call is too large for the GPU.
            DeviceLostError: The GPU fails every call.
        """
        try:
            outputs = self._call(tile, [part.rows for part in tile.parts], memory)
        except MemoryError as exc:
            # Smaller calls would not help: only a restart does.
            yield from ((part, exc) for part in tile.parts)
            return
        except (DeviceMemoryError, DeviceLostError):
            raise
        except Exception as exc:  # noqa: BLE001 - raised in the caller
            if len(tile.parts) == 1:
                yield tile.parts[0], self._halved(tile, exc, memory)
                return
            # The rows of one caller must not fail the job of another.
            for part in tile.parts:
                yield from self.results(tile.of(part), memory)
            return
        start = 0
        for part in tile.parts:
            rows = outputs[start : start + len(part)]
            yield part, Predicted(rows, {})
            start += len(part)

    def _halved(self, tile: Tile, exc: Exception, memory: TileMemory) -> Result:
        """What is found without the rows that the call failed on."""
        if not isinstance(exc, PredictionError):
            return exc
        (part,) = tile.parts
        try:
            return predict_halves(
                lambda rows: self._call(tile, [rows], memory)[: len(rows)],
                part.rows,
                exc,
                predict_one=tile.predictor.predict_one,
                shape_is_open=self._is_open,
            )
        except (DeviceMemoryError, DeviceLostError):
            raise
        except (Exception, MemoryError) as found:  # noqa: BLE001 - raised in the caller
            return found

    def _call(self, tile: Tile, parts: Sequence[Rows], memory: TileMemory) -> Rows:
        row_count, part_items = sum(map(len, parts)), tile.predictor.part_items
        if part_items is None:
            given_count, given = tile.row_count, tile_of(parts, tile.row_count)
        else:
            given_count = -(-row_count // part_items) * part_items
            given = memory.tile_of(parts, given_count)
        began_s = time.perf_counter()
        outputs = tile.predictor.predict_tile(given)
        self._on_computed(row_count, tile.row_count, time.perf_counter() - began_s)
        self._check(outputs, given_count)
        return outputs

    def _check(self, outputs: Rows, row_count: int) -> None:
        fits = len(outputs.arrays) == len(self._given) and all(
            array.dtype == dtype and takes(array.shape, [row_count, *shape])
            for array, (dtype, shape) in zip(outputs.arrays, self._given, strict=True)
        )
        if not fits:
            found = ", ".join(f"{array.dtype} {array.shape}" for array in outputs.arrays)
            said = ", ".join(f"{t.dtype} {text_of([row_count, *t.shape])}" for t in self._gives)
            raise PredictionError(
                f"predict gave {found} for {row_count} items, and by its manifest the model gives "
                f"{said}; publish it again"
            )
