"""Form predict calls of the same size from the rows of many shards, and return their outputs."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from fornada.errors import (
    DeviceLostError,
    DeviceMemoryError,
    FornadaError,
    PredictionError,
)
from fornada.formats.rows import Rows
from fornada.jobs.items import Predicted
from fornada.tensors import InputTensor, OutputTensor
from worker.compute.declined_models import declined_for
from worker.compute.predictor import Predictor
from worker.compute.tile_calls import Result, TileCalls, TileMemory
from worker.compute.tile_queue import Part, Request, Tile, TileQueue

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
    stream waits for Python. With a GPU, one thread's rows are transferred while another's are
    computed and those of a third are fetched.

    A tile that does not fit into the memory of the GPU is halved, for all calls from then on.
    What was computed in part begins again, so that all rows of a caller are in calls of one size.

    Args:
        predictor: What computes; called from `streams + calls_ahead` threads.
        takes: The model's inputs.
        gives: Its outputs.
        max_latency_s: How long a partial tile waits, while a stream is free, for rows that are on
            their way; without any it goes at once.
        on_computed: Called after each call with its rows, padding excluded and included, and its
            seconds.
        on_lost: Called when the GPU fails every call, which only another process cures.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        takes: Sequence[InputTensor],
        gives: Sequence[OutputTensor],
        max_latency_s: float,
        on_computed: Callable[[int, int, float], object] = lambda _rows, _tile, _duration_s: None,
        on_lost: Callable[[], object] = lambda: None,
    ) -> None:
        self._predictor = predictor
        self._streams = predictor.streams
        self._calls = TileCalls(takes=takes, gives=gives, on_computed=on_computed)
        self._max_latency_s = max_latency_s
        self._on_lost = on_lost
        self._lost: DeviceLostError | None = None
        self._halving = threading.Lock()
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
            ModelDeclinedError: Not even one row fits into the memory of the GPU, or it failed every
                call before these rows were in any.
            DeviceLostError: It fails every call, and some of these rows were in one.
            FornadaError: The batcher is closed.
            MemoryError: The device is out of memory, which only a restart cures.
        """
        with self._changed:
            if self._closed:
                # Not a `ModelError`, which would end the job.
                raise FornadaError("the model was unloaded during the call; try again")
            if self._lost is not None:
                raise declined_for(self._lost)
            requests = [self._added(rows) for rows in groups]
            self._expecting.discard(block)
            self._changed.notify_all()
        predicted = [request.future.result() for request in requests]
        begun = [request.began_s for request in requests if request.began_s is not None]
        note_begin(min(begun, default=time.monotonic()))
        return predicted

    def rows_for(self, shapes: Shapes) -> int:
        """Rows of a call of items of these shapes, as of now."""
        return self._predictor.rows_for(shapes)

    def _added(self, rows: Rows) -> Request:
        self._request_count += 1
        request = Request(rows, number=self._request_count)
        self._queue_of(request).add(request)
        return request

    def _queue_of(self, request: Request) -> TileQueue:
        queue = self._queues.get(request.shapes)
        if queue is None:
            queue = TileQueue(self._predictor.rows_for(request.shapes))
            self._queues[request.shapes] = queue
        return queue

    def close(self) -> None:
        """Answer all requests, then end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        memory = TileMemory()
        while tile := self._next_tile():
            self._serve(tile, memory)
            # Until the next one comes, it would keep all rows of its callers.
            del tile

    def _serve(self, tile: Tile, memory: TileMemory) -> None:
        try:
            for part, result in self._calls.results(tile, memory):
                self._deliver(part, result)
        except DeviceMemoryError as exc:
            self._serve_smaller(tile, exc)
        except DeviceLostError as exc:
            self._lose(tile, exc)

    def _serve_smaller(self, tile: Tile, exc: DeviceMemoryError) -> None:
        """Have the callers' rows computed from the first on, in calls of half as many rows."""
        try:
            with self._halving:
                # Another thread's call may have been too large at the same time.
                if self._predictor is tile.predictor:
                    smaller = tile.predictor.smaller(exc)
                    with self._changed:
                        self._predictor = smaller
                        for shapes, queue in self._queues.items():
                            queue.resize(smaller.rows_for(shapes))
        except (Exception, MemoryError) as final:  # noqa: BLE001 - raised in the caller
            for part in tile.parts:
                self._deliver(part, final)
            return
        with self._changed:
            for part in tile.parts:
                if not (part.is_stale or part.request.future.done()):
                    self._queue_of(part.request).begin_again(part.request)
            self._changed.notify_all()

    def _lose(self, tile: Tile, exc: DeviceLostError) -> None:
        """Fail all callers; the calls of other tiles fail as well."""
        with self._changed:
            self._lost = exc
            for part in tile.parts:
                self._fail(part.request, exc)
            waiting = [request for queue in self._queues.values() for request in queue.requests]
            for request in waiting:
                self._fail(request, exc if request.taken else declined_for(exc))
        self._on_lost()

    def _next_tile(self) -> Tile | None:
        """Rows for one tile; `None` once closed and drained."""
        with self._changed:
            self._busy_count -= 1
            self._changed.notify_all()
            while True:
                self._changed.wait_for(lambda: self._queues or self._closed)
                if not self._queues:
                    return None
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

    def _take(self, shapes: Shapes) -> Tile:
        queue = self._queues[shapes]
        tile = Tile(queue.take(), row_count=queue.tile_items, predictor=self._predictor)
        if not queue.left:
            del self._queues[shapes]
        elif len(self._queues) > 1:
            # Other shapes come next.
            self._queues[shapes] = self._queues.pop(shapes)
        return tile

    def _deliver(self, part: Part, result: Result) -> None:
        with self._changed:
            if part.is_stale:
                return
            if isinstance(result, Exception):
                self._fail(part.request, result)
                return
            try:
                part.request.deliver(part, result)
            except PredictionError as exc:
                self._fail(part.request, exc)

    def _fail(self, request: Request, exc: Exception) -> None:
        queue = self._queues.get(request.shapes)
        if queue is not None and request in queue.requests:
            queue.remove(request)
            if not queue.left:
                del self._queues[request.shapes]
        request.taken = len(request.rows)
        # Other rows of it may have failed on another stream.
        if not request.future.done():
            request.future.set_exception(exc)
