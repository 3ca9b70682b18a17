"""Form predict calls of a fixed size from the rows of many shards, and hand the rows back."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from fornada.arrays import Array
from fornada.errors import FornadaError, PredictionError

Probabilities = NDArray[np.float32]


class _Request:
    """Rows that one caller waits for."""

    def __init__(self, rows: Array) -> None:
        self.rows = rows
        self.taken = 0
        self.parts: list[Probabilities] = []
        self.future: Future[Probabilities] = Future()

    @property
    def left(self) -> int:
        return len(self.rows) - self.taken

    def take(self, count: int) -> Array:
        part = self.rows[self.taken : self.taken + count]
        self.taken += count
        return part


class Batcher:
    """One thread that owns the compute; callers block in `predict` and share its batches.

    Every call of `predict_tile` has the same number of rows, padded with zeros at the end of
    what is there: the same item then gives the same bytes however a job is split. Rows of
    different callers share a tile (dynamic batching, as Triton and TF Serving name it).

    Args:
        predict_tile: item dtype [tile_items, *item_shape] → float32 [tile_items, outputs].
        tile_items: `max_batch_size`, the rows of every call.
        item_shape: Shape of one item.
        item_dtype: dtype of the items.
        max_latency_s: How long a tile that is not full waits for more rows.
    """

    def __init__(
        self,
        predict_tile: Callable[[Array], Array],
        *,
        tile_items: int,
        item_shape: Sequence[int],
        item_dtype: str,
        max_latency_s: float,
    ) -> None:
        self.tile_items = tile_items
        self._predict_tile = predict_tile
        self._max_latency_s = max_latency_s
        self._tile_shape = (tile_items, *item_shape)
        self._tile_dtype = np.dtype(item_dtype)
        self._requests: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    def predict(self, rows: Array) -> Probabilities:
        """Probabilities of `rows` (item dtype [items, *item_shape]): float32 [items, outputs].

        Raises:
            PredictionError: The predict call failed or answered with the wrong shape.
            FornadaError: The batcher is closed.
            MemoryError: The device has no memory left; the process is of no more use.
        """
        request = _Request(rows)
        with self._changed:
            if self._closed:
                # No fault of the model, for which its job would end FAILED.
                raise FornadaError("the model was unloaded while it was asked; try again")
            self._requests.append(request)
            self._changed.notify_all()
        return request.future.result()

    def close(self) -> None:
        """Finish what was asked for, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while parts := self._next_parts():
            self._serve(parts)

    def _serve(self, parts: list[tuple[_Request, Array]]) -> None:
        try:
            outputs = self._call([rows for _, rows in parts])
        except Exception as exc:  # noqa: BLE001 - handed to the caller whose rows they are
            if len(parts) == 1:
                self._fail(parts[0][0], exc)
                return
            # Rows of one caller must not fail those of another, whose job would end for it.
            for part in parts:
                self._serve([part])
            return
        start = 0
        for request, rows in parts:
            self._deliver(request, outputs[start : start + len(rows)])
            start += len(rows)

    def _next_parts(self) -> list[tuple[_Request, Array]]:
        """Rows for one tile, oldest request first; empty when closed and drained."""
        with self._changed:
            self._changed.wait_for(lambda: self._requests or self._closed)
            deadline = time.monotonic() + self._max_latency_s
            while not self._closed and sum(r.left for r in self._requests) < self.tile_items:
                if not self._changed.wait(timeout=max(0.0, deadline - time.monotonic())):
                    break
            return self._take_rows()

    def _take_rows(self) -> list[tuple[_Request, Array]]:
        parts: list[tuple[_Request, Array]] = []
        free = self.tile_items
        while free and self._requests:
            request = self._requests[0]
            rows = request.take(min(free, request.left))
            parts.append((request, rows))
            free -= len(rows)
            if not request.left:
                self._requests.popleft()
        return parts

    def _call(self, parts: list[Array]) -> Probabilities:
        if len(parts) == 1 and len(parts[0]) == self.tile_items:
            tile: Array = parts[0]
        else:
            tile = np.zeros(self._tile_shape, self._tile_dtype)
            filled = 0
            for rows in parts:
                tile[filled : filled + len(rows)] = rows
                filled += len(rows)
        outputs = self._predict_tile(tile)
        if outputs.shape[:-1] != (self.tile_items,) or outputs.dtype != np.float32:
            raise PredictionError(
                f"predict gave {outputs.dtype} {outputs.shape} for {self.tile_items} items; "
                "a model must answer with one float32 row an item"
            )
        return outputs  # type: ignore[return-value]  # the dtype was checked above

    def _deliver(self, request: _Request, outputs: Probabilities) -> None:
        request.parts.append(outputs)
        if not request.left and sum(map(len, request.parts)) == len(request.rows):
            if not request.future.done():
                request.future.set_result(np.concatenate(request.parts))
            request.parts = []

    def _fail(self, request: _Request, exc: Exception) -> None:
        with self._changed:
            request.taken = len(request.rows)
            if request in self._requests:
                self._requests.remove(request)
        if not request.future.done():
            request.future.set_exception(exc)
