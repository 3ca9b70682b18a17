"""A device for tests, whose transfers and compute are lanes, timed by a clock of its own."""

import threading
from collections.abc import Callable

import numpy as np

from fornada.errors import DeviceLostError, DeviceMemoryError

IN, COMPUTE, OUT = range(3)


class LaneDevice:
    """Transfers a tile in, computes it, transfers its outputs out; each lane has one at a time.

    A tile goes through the second and third lane only when those behind it have begun, as long as
    some are to come: who gives it one tile after the other never gets an answer. Nothing sleeps;
    the device's clock is reckoned from what each lane takes, and when each thread came back.

    Args:
        tile_count: Tiles that will be given to it.
        costs: What a tile takes of each lane, by the device's clock.
        patience_s: How long a tile waits for the next one until its call fails.
    """

    def __init__(
        self, *, tile_count: int, costs: tuple[int, int, int] = (1, 1, 1), patience_s: float = 60
    ) -> None:
        self._tile_count = tile_count
        self._costs = costs
        self._patience_s = patience_s
        self._changed = threading.Condition()
        #: Tiles that have begun, and those that have left each lane.
        self._begun_count, self._left = 0, [0, 0, 0]
        #: When each lane had each tile, and when each thread got its last answer.
        self._times: list[list[range]] = [[], [], []]
        self._answered_at: dict[int, int] = {}
        self.most_in_flight = 0

    @property
    def ended_at(self) -> int:
        """When the last tile was out, by the device's clock."""
        return self._times[OUT][-1].stop

    @property
    def overlapping_count(self) -> int:
        """Tiles that were transferred in while others were computed."""
        computing = {at for time in self._times[COMPUTE] for at in time}
        return sum(not computing.isdisjoint(time) for time in self._times[IN])

    def predict(self, tile: np.ndarray) -> np.ndarray:
        """The sum of each row, and how many rows the call had."""
        thread = threading.get_ident()
        with self._changed:
            number, self._begun_count = self._begun_count, self._begun_count + 1
            self._changed.notify_all()
            at = self._answered_at.get(thread, 0)
            in_flight = self._begun_count - self._left[OUT]
            self.most_in_flight = max(self.most_in_flight, in_flight)
            for lane in (IN, COMPUTE, OUT):
                at = self._through(lane, number, at)
            self._answered_at[thread] = at
        return sums_and_rows(tile)

    def _through(self, lane: int, number: int, at: int) -> int:
        # As many have begun behind it as it is lanes ahead.
        wanted = min(self._tile_count, number + 1 + lane)
        self._until(lambda: self._left[lane] == number and self._begun_count >= wanted)
        times = self._times[lane]
        begin = max(at, times[-1].stop if times else 0)
        times.append(range(begin, begin + self._costs[lane]))
        self._left[lane] += 1
        self._changed.notify_all()
        return times[-1].stop

    def _until(self, condition: Callable[[], bool]) -> None:
        if not self._changed.wait_for(condition, timeout=self._patience_s):
            raise AssertionError("no tile was transferred while this one was computed")


class SmallDevice:
    """A device that is out of memory in some calls, and may be lost.

    Args:
        fits_items: The most rows of a call.
    """

    def __init__(self, *, fits_items: int) -> None:
        self.fits_items = fits_items
        #: Rows of the calls that it was given, those that failed too.
        self.given: list[int] = []
        self.is_lost = False

    def predict(self, tile: np.ndarray, tile_items: int) -> np.ndarray:
        """The sum of each row, and how many rows the call had."""
        self.given.append(len(tile))
        if self.is_lost:
            raise DeviceLostError("CUDA_ERROR_ILLEGAL_ADDRESS")
        if tile_items > self.fits_items:
            raise DeviceMemoryError(f"{tile_items} rows over {self.fits_items}")
        return sums_and_rows(tile, tile_items)


def sums_and_rows(tile: np.ndarray, tile_items: int | None = None) -> np.ndarray:
    """float32 [rows, 2]: the sum of each row, and the rows of the call."""
    sums = tile.reshape(len(tile), -1).astype(np.float32).sum(axis=1)
    rows = np.full(len(tile), tile_items or len(tile), np.float32)
    return np.stack([sums, rows], axis=1)
