"""Form predict calls of a fixed size from the rows of many shards, and return their outputs."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from fornada.errors import FornadaError, PredictionError
from fornada.formats.items import Array
from fornada.jobs.items import Predicted
from worker.compute.halving import Probabilities, predict_halves


class _Request:
    """Rows whose outputs one caller waits for."""

    def __init__(self, rows: Array) -> None:
        self.rows = rows
        self.taken = 0
        self.delivered = 0
        self.outputs: Probabilities | None = None
        self.errors: dict[int, str] = {}
        self.future: Future[Predicted] = Future()

    @property
    def left(self) -> int:
        return len(self.rows) - self.taken

    def take(self, count: int) -> "_Part":
        part = _Part(request=self, start=self.taken, end=self.taken + count)
        self.taken = part.end
        return part


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """The rows of a request in one tile."""

    request: _Request
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def rows(self) -> Array:
        return self.request.rows[self.start : self.end]


class Batcher:
    """Threads that own the compute; callers block in `predict` and share tiles.

    Every call of `predict_tile` has the same number of rows, padded with zeros, so that an item
    gives the same bytes however a job is split. Rows of different callers share a tile (dynamic
    batching in Triton and TF Serving), and several tiles are computed at a time (streams in
    OpenVINO). An engine with calls ahead gets full tiles before a stream is free, so that no
    stream waits for Python.

    Args:
        predict_tile: item dtype [tile_items, *item_shape] → float32 [tile_items, outputs]; called
            from `streams + calls_ahead` threads.
        streams: Calls that the engine computes at a time.
        calls_ahead: Further calls that may wait in the engine.
        tile_items: The rows of every call.
        item_shape: Shape of one item.
        item_dtype: dtype of the items.
        max_latency_s: How long a partial tile waits for more rows while a stream is free.
        on_computed: Called after each call with its rows, padding excluded, and its seconds.
    """

    def __init__(
        self,
        predict_tile: Callable[[Array], Array],
        *,
        streams: int,
        calls_ahead: int,
        tile_items: int,
        item_shape: Sequence[int],
        item_dtype: str,
        max_latency_s: float,
        on_computed: Callable[[int, float], object] = lambda _row_count, _duration_s: None,
    ) -> None:
        self.tile_items = tile_items
        self._predict_tile = predict_tile
        self._streams = streams
        self._max_latency_s = max_latency_s
        self._on_computed = on_computed
        self._tile_shape = (tile_items, *item_shape)
        self._tile_dtype = np.dtype(item_dtype)
        self._requests: deque[_Request] = deque()
        self._changed = threading.Condition()
        #: Threads that do not wait for rows: each is in a call, or has not started yet.
        self._busy_count = streams + calls_ahead
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"batcher-{number}", daemon=True)
            for number in range(streams + calls_ahead)
        ]
        for thread in self._threads:
            thread.start()

    def predict(self, rows: Array) -> Predicted:
        """Outputs of `rows`, item dtype [items, *item_shape], and why some rows have none.

        Raises:
            PredictionError: The model fails on any row, or answers with the wrong shape.
            FornadaError: The batcher is closed.
            MemoryError: The device is out of memory, which only a restart cures.
        """
        request = _Request(rows)
        with self._changed:
            if self._closed:
                # Not a `ModelError`, which would end the job.
                raise FornadaError("the model was unloaded during the call; try again")
            self._requests.append(request)
            self._changed.notify_all()
        return request.future.result()

    def close(self) -> None:
        """Answer all requests, then end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while parts := self._next_parts():
            self._serve(parts)

    def _serve(self, parts: list[_Part]) -> None:
        try:
            outputs = self._call([part.rows for part in parts])
        except Exception as exc:  # noqa: BLE001 - raised in the caller
            if len(parts) == 1:
                self._serve_halves(parts[0], exc)
                return
            # The rows of one caller must not fail the job of another.
            for part in parts:
                self._serve([part])
            return
        start = 0
        for part in parts:
            self._deliver(part, Predicted(outputs[start : start + len(part)], {}))
            start += len(part)

    def _serve_halves(self, part: _Part, exc: Exception) -> None:
        """Find the rows that the call failed on; only the model's own failure fails the caller."""
        try:
            if not isinstance(exc, PredictionError):
                raise exc  # noqa: TRY301 - told to the caller below
            predicted = predict_halves(lambda rows: self._call([rows])[: len(rows)], part.rows, exc)
        except Exception as found:  # noqa: BLE001 - raised in the caller
            self._fail(part.request, found)
            return
        self._deliver(part, predicted)

    def _next_parts(self) -> list[_Part]:
        """Rows for one tile, oldest request first; empty once closed and drained."""
        with self._changed:
            self._busy_count -= 1
            self._changed.notify_all()
            while True:
                self._changed.wait_for(lambda: self._requests or self._closed)
                if not self._requests:
                    return []
                self._wait_for_a_full_tile()
                # Another thread may have taken them.
                if parts := self._take_rows():
                    self._busy_count += 1
                    return parts

    def _wait_for_a_full_tile(self) -> None:
        deadline = time.monotonic() + self._max_latency_s
        while self._requests and not self._closed:
            if sum(request.left for request in self._requests) >= self.tile_items:
                return
            if self._busy_count >= self._streams:
                # No stream is free: waiting for more rows costs nothing.
                self._changed.wait()
            elif not self._changed.wait(timeout=max(0.0, deadline - time.monotonic())):
                return

    def _take_rows(self) -> list[_Part]:
        parts: list[_Part] = []
        free = self.tile_items
        while free and self._requests:
            request = self._requests[0]
            parts.append(request.take(min(free, request.left)))
            free -= len(parts[-1])
            if not request.left:
                self._requests.popleft()
        return parts

    def _call(self, parts: Sequence[Array]) -> Probabilities:
        if len(parts) == 1 and len(parts[0]) == self.tile_items:
            tile = parts[0]
        else:
            tile = np.zeros(self._tile_shape, self._tile_dtype)
            filled = 0
            for rows in parts:
                tile[filled : filled + len(rows)] = rows
                filled += len(rows)
        began_s = time.perf_counter()
        outputs = self._predict_tile(tile)
        self._on_computed(sum(map(len, parts)), time.perf_counter() - began_s)
        if outputs.shape[:-1] != (self.tile_items,) or outputs.dtype != np.float32:
            raise PredictionError(
                f"predict gave {outputs.dtype} {outputs.shape} for {self.tile_items} items; "
                "a model must give one float32 row per item"
            )
        return outputs  # type: ignore[return-value]  # the dtype was checked above

    def _deliver(self, part: _Part, predicted: Predicted) -> None:
        request, outputs = part.request, predicted.outputs
        with self._changed:
            if request.outputs is None:
                request.outputs = np.empty((len(request.rows), outputs.shape[1]), np.float32)
            request.outputs[part.start : part.end] = outputs
            request.errors |= {part.start + row: why for row, why in predicted.errors.items()}
            request.delivered += len(part)
            if request.delivered == len(request.rows):
                request.future.set_result(Predicted(request.outputs, request.errors))

    def _fail(self, request: _Request, exc: Exception) -> None:
        with self._changed:
            request.taken = len(request.rows)
            if request in self._requests:
                self._requests.remove(request)
            # Other rows of it may have failed on another stream.
            if not request.future.done():
                request.future.set_exception(exc)
