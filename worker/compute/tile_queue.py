"""Requests for items of one shape, and the tiles that they are cut into."""

import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass

from fornada.formats.items import Array
from fornada.jobs.items import Predicted
from worker.compute.halving import Probabilities


class Request:
    """Rows whose outputs one caller waits for."""

    def __init__(self, rows: Array, *, number: int) -> None:
        self.rows = rows
        self.shape = rows.shape[1:]
        #: Requests are numbered in the order in which they came.
        self.number = number
        self.came_s = time.monotonic()
        self.taken = 0
        self.delivered = 0
        self.outputs: Probabilities | None = None
        self.errors: dict[int, str] = {}
        self.future: Future[Predicted] = Future()

    @property
    def left(self) -> int:
        """Rows that no tile has yet."""
        return len(self.rows) - self.taken

    def take(self, count: int) -> "Part":
        """The next `count` rows."""
        part = Part(request=self, start=self.taken, end=self.taken + count)
        self.taken = part.end
        return part


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The rows of a request in one tile."""

    request: Request
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def rows(self) -> Array:
        """Item dtype [rows, *item_shape]."""
        return self.request.rows[self.start : self.end]


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
            parts.append(request.take(min(free, request.left)))
            free -= len(parts[-1])
            if not request.left:
                self.requests.popleft()
        self.left -= self.tile_items - free
        return parts
