"""Form predict calls of the same size from the rows of many shards, and return their outputs."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np

from fornada.errors import FornadaError, PredictionError
from fornada.formats.rows import Rows, tile_of
from fornada.jobs.items import Predicted
from fornada.tensors import InputTensor, OutputTensor, takes, text_of
from worker.compute.halving import predict_halves
from worker.compute.predictor import Predictor
from worker.compute.tile_queue import Part, Request, TileQueue

#: The shape of an item in each input.
Shapes = tuple[tuple[int, ...], ...]

#: A tile that is not full goes before full ones of other shapes once its rows are so old.
_STARVED_S = 0.5


class Batcher:
    """Threads that own the compute; callers block in `predict` and share tiles.

    Every call for items of a shape has the same number of rows, padded with zeros, so that an item
    gives the same bytes however a job is split. Rows of different callers share a tile (dynamic
    batching in Triton and TF Serving), and several tiles are computed at a time (streams in
    OpenVINO). An engine with calls ahead gets full tiles before a stream is free, so that no
    stream waits for Python.

    Args:
        predictor: What computes; called from `streams + calls_ahead` threads.
        takes: The model's inputs.
        gives: Its outputs.
        max_latency_s: How long a partial tile waits, while a stream is free, for rows that are on
            their way; without any it goes at once.
        on_computed: Called after each call with its rows, padding excluded and included, and its
            seconds.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        takes: Sequence[InputTensor],
        gives: Sequence[OutputTensor],
        max_latency_s: float,
        on_computed: Callable[[int, int, float], object] = lambda _rows, _tile, _duration_s: None,
    ) -> None:
        self.rows_for = predictor.rows_for
        self._predictor = predictor
        self._streams = predictor.streams
        self._is_open = any(tensor.is_open for tensor in takes)
        self._gives = gives
        self._max_latency_s = max_latency_s
        self._on_computed = on_computed
        #: By the items' shape; none is empty.
        self._queues: dict[Shapes, TileQueue] = {}
        self._request_count = 0
        #: The last request that waited for company long enough.
        self._last_due = 0
        #: Blocks whose rows are on their way.
        self._expecting: set[object] = set()
        self._changed = threading.Condition()
        thread_count = predictor.streams + predictor.calls_ahead
        #: Threads that do not wait for rows: each is in a call, or has not started yet.
        self._busy_count = thread_count
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"batcher-{number}", daemon=True)
            for number in range(thread_count)
        ]
        for thread in self._threads:
            thread.start()

    @contextmanager
    def expecting(self) -> Iterator[Callable[..., list[Predicted]]]:
        """Say that rows are on their way, while the block fetches or reads them.

        Yields `predict_groups` for them. They are no longer expected from its call on, or once the
        block ends.
        """
        block = object()
        with self._changed:
            self._expecting.add(block)
        try:
            yield partial(self.predict_groups, block=block)
        finally:
            with self._changed:
                if block in self._expecting:
                    self._expecting.remove(block)
                    self._changed.notify_all()

    def predict(self, rows: Rows) -> Predicted:
        """Outputs of `rows`, and why some have none.

        Raises what `predict_groups` does.
        """
        return self.predict_groups([rows])[0]

    def predict_groups(
        self,
        groups: Sequence[Rows],
        *,
        note_begin: Callable[[float], object] = lambda _at_s: None,
        block: object = None,
    ) -> list[Predicted]:
        """The same for rows of several shapes at once, of a model with an input of open sides.

        Args:
            groups: Rows of one shape each.
            note_begin: Called once they are predicted, with the monotonic time at which the first
                went into a call.
            block: Which expected them.

        Raises:
            PredictionError: The model fails on any row, or answers with the wrong shape.
            FornadaError: The batcher is closed.
            MemoryError: The device is out of memory, which only a restart cures.
        """
        with self._changed:
            if self._closed:
                # Not a `ModelError`, which would end the job.
                raise FornadaError("the model was unloaded during the call; try again")
            requests = [self._added(rows) for rows in groups]
            self._expecting.discard(block)
            self._changed.notify_all()
        predicted = [request.future.result() for request in requests]
        begun = [request.began_s for request in requests if request.began_s is not None]
        note_begin(min(begun, default=time.monotonic()))
        return predicted

    def _added(self, rows: Rows) -> Request:
        self._request_count += 1
        request = Request(rows, number=self._request_count)
        queue = self._queues.get(request.shapes)
        if queue is None:
            queue = self._queues[request.shapes] = TileQueue(self.rows_for(request.shapes))
        queue.add(request)
        return request

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
            # Until the next ones come, it would keep all rows of their callers.
            del parts

    def _serve(self, parts: list[Part]) -> None:
        try:
            outputs = self._call([part.rows for part in parts])
        except MemoryError as exc:
            # Smaller calls would not help: only a restart does.
            for part in parts:
                self._fail(part.request, exc)
            return
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

    def _serve_halves(self, part: Part, exc: Exception) -> None:
        """Find the rows that the call failed on; only the model's own failure fails the caller."""
        try:
            if not isinstance(exc, PredictionError):
                raise exc  # noqa: TRY301 - told to the caller below
            predicted = predict_halves(
                lambda rows: self._call([rows])[: len(rows)],
                part.rows,
                exc,
                predict_one=self._predictor.predict_one,
                shape_is_open=self._is_open,
            )
        except (Exception, MemoryError) as found:  # noqa: BLE001 - raised in the caller
            self._fail(part.request, found)
            return
        self._deliver(part, predicted)

    def _next_parts(self) -> list[Part]:
        """Rows for one tile; empty once closed and drained."""
        with self._changed:
            self._busy_count -= 1
            self._changed.notify_all()
            while True:
                self._changed.wait_for(lambda: self._queues or self._closed)
                if not self._queues:
                    return []
                # Another thread may have taken all rows.
                if (shapes := self._next_shapes()) is not None:
                    self._busy_count += 1
                    return self._take(shapes)

    def _next_shapes(self) -> Shapes | None:
        """Wait for a full tile, or for rows on their way; the shapes of the next tile, if any."""
        deadline = time.monotonic() + self._max_latency_s
        while self._queues and not self._closed:
            shapes, oldest = next(iter(self._queues.items()))
            if oldest.left >= oldest.tile_items:
                return shapes
            if len(self._queues) > 1:
                if time.monotonic() - oldest.requests[0].came_s > _STARVED_S:
                    return shapes
                for other, queue in self._queues.items():
                    if queue.left >= queue.tile_items:
                        return other
            if self._busy_count >= self._streams:
                # No stream is free: waiting for more rows costs nothing.
                self._changed.wait()
            elif not self._expecting or oldest.requests[0].number <= self._last_due:
                return shapes
            elif not self._changed.wait(timeout=max(0.0, deadline - time.monotonic())):
                # Of several shapes, none waits again.
                self._last_due = self._request_count
        return next(iter(self._queues), None)

    def _take(self, shapes: Shapes) -> list[Part]:
        queue = self._queues[shapes]
        parts = queue.take()
        if not queue.left:
            del self._queues[shapes]
        elif len(self._queues) > 1:
            # Other shapes come next.
            self._queues[shapes] = self._queues.pop(shapes)
        return parts

    def _call(self, parts: Sequence[Rows]) -> Rows:
        tile_items = self.rows_for(parts[0].shapes)
        tile = tile_of(parts, tile_items)
        began_s = time.perf_counter()
        outputs = self._predictor.predict_tile(tile)
        self._on_computed(sum(map(len, parts)), tile_items, time.perf_counter() - began_s)
        self._check(outputs, tile_items)
        return outputs

    def _check(self, outputs: Rows, tile_items: int) -> None:
        fits = len(outputs.arrays) == len(self._gives) and all(
            takes(array.shape, [tile_items, *tensor.shape])
            and array.dtype == np.dtype(tensor.numpy_dtype)
            for array, tensor in zip(outputs.arrays, self._gives, strict=True)
        )
        if not fits:
            found = ", ".join(f"{array.dtype} {array.shape}" for array in outputs.arrays)
            said = ", ".join(f"{t.dtype} {text_of([tile_items, *t.shape])}" for t in self._gives)
            raise PredictionError(
                f"predict gave {found} for {tile_items} items, and by its manifest the model gives "
                f"{said}; publish it again"
            )

    def _deliver(self, part: Part, predicted: Predicted) -> None:
        with self._changed:
            try:
                part.request.deliver(part, predicted)
            except PredictionError as exc:
                self._fail_locked(part.request, exc)

    def _fail(self, request: Request, exc: Exception) -> None:
        with self._changed:
            self._fail_locked(request, exc)

    def _fail_locked(self, request: Request, exc: Exception) -> None:
        queue = self._queues.get(request.shapes)
        if queue is not None and request in queue.requests:
            queue.remove(request)
            if not queue.left:
                del self._queues[request.shapes]
        request.taken = len(request.rows)
        # Other rows of it may have failed on another stream.
        if not request.future.done():
            request.future.set_exception(exc)
