"""Requests for items of one shape, and the tiles that they are cut into."""

import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass

from fornada.errors import PredictionError
from fornada.formats.rows import Rows, blank_rows
from fornada.jobs.items import Predicted
from worker.compute.predictor import Predictor


class Request:
    """Rows whose outputs one caller waits for."""

    def __init__(self, rows: Rows, *, number: int) -> None:
        self.rows = rows
        self.shapes = rows.shapes
        #: Requests are numbered in the order in which they came.
        self.number = number
        self.came_s = time.monotonic()
        #: When its first rows went into a tile.
        self.began_s: float | None = None
        self.taken = 0
        self._delivered = 0
        self._outputs: Rows | None = None
        self._errors: dict[int, str] = {}
        #: Rows of the calls that its rows are in; the same for all of them.
        self.tile_items: int | None = None
        #: How often it was begun again.
        self.restart_count = 0
        self.future: Future[Predicted] = Future()

    @property
    def left(self) -> int:
        """Rows that no tile has yet."""
        return len(self.rows) - self.taken

    def take(self, count: int) -> "Part":
        """The next `count` rows."""
        part = Part(
            request=self,
            start=self.taken,
            end=self.taken + count,
            restart_count=self.restart_count,
        )
        self.taken = part.end
        if self.began_s is None:
            self.began_s = time.monotonic()
        return part

    def restart(self) -> None:
        """Begin again with its first row; what is known of the others is forgotten."""
        self.taken = self._delivered = 0
        self._outputs, self._errors = None, {}
        self.restart_count += 1

    def deliver(self, part: "Part", predicted: Predicted) -> None:
        """Keep what the model gives for some of the rows, and answer once that is known of all.

        Raises:
            PredictionError: It has another shape than that of the rows before.
        """
        if predicted.outputs is not None:
            self._keep(part, predicted.outputs)
        self._errors |= {part.start + row: why for row, why in predicted.errors.items()}
        self._delivered += len(part)
        if self._delivered == len(self.rows):
            self.future.set_result(Predicted(self._outputs, self._errors, self.tile_items))

    def _keep(self, part: "Part", outputs: Rows) -> None:
        if len(part) == len(self.rows):
            self._outputs = outputs
            return
        if self._outputs is None:
            self._outputs = blank_rows(
                len(self.rows), outputs.shapes, [array.dtype for array in outputs.arrays]
            )
        if self._outputs.shapes != outputs.shapes:
            raise PredictionError(
                f"the model gives outputs of shapes {self._outputs.shapes} and {outputs.shapes} "
                "for items of one shape; let their shape follow from that of the items"
            )
        for into, array in zip(self._outputs.arrays, outputs.arrays, strict=True):
            into[part.start : part.end] = array


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The rows of a request in one tile."""

    request: Request
    start: int
    end: int
    #: That of the request when they were taken.
    restart_count: int = 0

    @property
    def is_stale(self) -> bool:
        """Whether the request was begun again since, so that nobody waits for these rows."""
        return self.restart_count != self.request.restart_count

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def rows(self) -> Rows:
        """The rows."""
        return self.request.rows[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Tile:
    """Rows of several requests for one call."""

    parts: list[Part]
    #: Of the call, blank ones included.
    row_count: int
    #: Computes it, even if calls that follow have fewer rows.
    predictor: Predictor

    def of(self, part: Part) -> "Tile":
        """One of the parts, in a call of its own."""
        return Tile([part], self.row_count, self.predictor)


class TileQueue:
    """Requests for items of one shape, which share tiles."""

    def __init__(self, tile_items: int) -> None:
        self.tile_items = tile_items
        self.requests: deque[Request] = deque()
        #: Rows that no tile has yet.
        self.left = 0

    def add(self, request: Request) -> None:
        """Let it wait for a tile."""
        self.requests.append(request)
        self.left += request.left

    def resize(self, tile_items: int) -> None:
        """Cut tiles of `tile_items` rows; what has rows in larger ones is begun again."""
        self.tile_items = tile_items
        for request in self.requests:
            if request.taken:
                self.left += request.taken
                request.restart()

    def begin_again(self, request: Request) -> None:
        """Begin again with a request, before all others."""
        if request in self.requests:
            self.remove(request)
        request.restart()
        self.requests.appendleft(request)
        self.left += request.left

    def remove(self, request: Request) -> None:
        """Take no more of its rows."""
        self.requests.remove(request)
        self.left -= request.left

    def take(self) -> list[Part]:
        """Rows for one tile, oldest request first."""
        parts: list[Part] = []
        free = self.tile_items
        while free and self.requests:
            request = self.requests[0]
            request.tile_items = self.tile_items
            parts.append(request.take(min(free, request.left)))
            free -= len(parts[-1])
            if not request.left:
                self.requests.popleft()
        self.left -= self.tile_items - free
        return parts
