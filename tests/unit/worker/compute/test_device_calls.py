"""Calls of a device with memory of its own: many in flight, and what happens when it fails."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest

from fornada.errors import DeviceMemoryError, ModelDeclinedError
from fornada.formats.rows import Rows
from fornada.jobs.items import Items, Predicted
from worker.compute.batcher import Batcher
from worker.compute.together import call_sizes
from worker.shards import isolated

from ....arrays import giving, taking
from ....lanes import LaneDevice, SmallDevice, sums_and_rows

TILE = 8


class _Predictor(SimpleNamespace):
    """Calls of a device, of `tile_items` rows."""

    def __init__(self, predict: Callable[[np.ndarray, int], np.ndarray], **options: Any) -> None:
        defaults = {"streams": 3, "calls_ahead": 1, "tile_items": TILE, "part_items": None}
        super().__init__(predict=predict, **defaults | options)

    def rows_for(self, _shapes: object) -> int:
        return self.tile_items

    def predict_tile(self, tile: Rows) -> Rows:
        return Rows(self.predict(tile.only, self.tile_items))

    def smaller(self, why: DeviceMemoryError) -> Self:
        if self.tile_items == 1:
            raise ModelDeclinedError("not even one") from why
        return type(self)(**{**vars(self), "tile_items": self.tile_items // 2})


def numbered(count: int) -> np.ndarray:
    """Distinct rows: float32 [count, 2]."""
    return np.arange(2 * count, dtype=np.float32).reshape(count, 2)


@pytest.fixture
def new_batcher() -> Iterator[Callable[..., Batcher]]:
    made: list[Batcher] = []

    def build(predictor: _Predictor, **options: Any) -> Batcher:
        batcher = Batcher(
            predictor, takes=taking([2]), gives=giving(2), max_latency_s=0.0, **options
        )
        made.append(batcher)
        return batcher

    yield build
    for batcher in made:
        batcher.close()


def _device_calls(device: LaneDevice, **options: Any) -> _Predictor:
    return _Predictor(lambda tile, _items: device.predict(tile), **options)


@pytest.mark.parametrize("costs", [(1, 1, 1), (1, 2, 1), (3, 1, 1)])
def test_three_tiles_are_in_flight_and_the_slowest_lane_is_all_that_counts(
    costs: tuple[int, int, int], new_batcher: Callable[..., Batcher]
) -> None:
    device = LaneDevice(tile_count=20, costs=costs)
    batcher = new_batcher(_device_calls(device))

    outputs = batcher.predict(Rows(numbered(20 * TILE))).outputs

    assert outputs is not None
    np.testing.assert_array_equal(numbered(20 * TILE).sum(axis=1), outputs.only[:, 0])
    assert 3 <= device.most_in_flight <= 4
    # All but the first, and in the slow lane no gap.
    assert 19 == device.overlapping_count
    assert 20 * max(costs) + sum(costs) - max(costs) == device.ended_at


def test_the_device_of_these_tests_sees_calls_that_wait_for_each_other(
    new_batcher: Callable[..., Batcher],
) -> None:
    device = LaneDevice(tile_count=2, patience_s=0.02)
    batcher = new_batcher(_device_calls(device, streams=1, calls_ahead=0))

    with pytest.raises(AssertionError, match="no tile was transferred"):
        batcher.predict(Rows(numbered(2 * TILE)))


def test_rows_that_only_fill_a_call_are_not_transferred(
    new_batcher: Callable[..., Batcher],
) -> None:
    # given a large tile, which is transferred in parts of 4 rows
    device = SmallDevice(fits_items=65_536)
    batcher = new_batcher(_Predictor(device.predict, tile_items=65_536, part_items=4))

    found = [batcher.predict(Rows(numbered(count))) for count in (10, 1, 8)]

    assert [12, 4, 8] == device.given
    for count, predicted in zip((10, 1, 8), found, strict=True):
        expected = [[row.sum(), 65_536] for row in numbered(count)]
        np.testing.assert_array_equal(np.array(expected, np.float32), predicted.outputs.only)
        assert 65_536 == predicted.tile_items


def test_a_call_that_is_halved_mixes_no_sizes(
    new_batcher: Callable[..., Batcher],
) -> None:
    for good_count in range(5):
        # given a device that is out of memory after some calls of 8 rows, and then takes 2
        device = SmallDevice(fits_items=TILE)

        def predict(
            tile: np.ndarray, tile_items: int, device: SmallDevice = device, good: int = good_count
        ) -> np.ndarray:
            if len(device.given) >= good:
                device.fits_items = 2
            return device.predict(tile, tile_items)

        batcher = new_batcher(_Predictor(predict))

        # when several callers have rows in calls of both sizes
        counts = [3, 20, 1, 9, 30]
        with ThreadPoolExecutor(len(counts)) as pool:
            found = list(pool.map(batcher.predict, [Rows(numbered(n)) for n in counts]))

        # then each has all of its rows, from calls of the size that it is told
        for count, predicted in zip(counts, found, strict=True):
            assert predicted.tile_items in {TILE, 2}
            assert {} == predicted.errors
            expected = [[row.sum(), predicted.tile_items] for row in numbered(count)]
            np.testing.assert_array_equal(np.array(expected, np.float32), predicted.outputs.only)
        assert 2 == batcher.predict(Rows(numbered(5))).tile_items


def test_a_request_of_which_some_rows_are_computed_begins_again_when_another_call_is_halved(
    new_batcher: Callable[..., Batcher],
) -> None:
    # given a call that takes long, and one of the next request, which is answered
    numbers = itertools.count()
    first_begun, third_begun, halved = threading.Event(), threading.Event(), threading.Event()

    def predict(tile: np.ndarray, tile_items: int) -> np.ndarray:
        number = next(numbers) if tile_items == TILE else -1
        if number == 0:
            first_begun.set()
            assert third_begun.wait(60)
            # when the long one does not fit, and a third is under way
            raise DeviceMemoryError("the first of 8 rows")
        if number == 2:
            third_begun.set()
            assert halved.wait(60)
        if tile_items < TILE:
            halved.set()
        return sums_and_rows(tile, tile_items)

    batcher = new_batcher(_Predictor(predict, streams=2, calls_ahead=0))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(batcher.predict, Rows(numbered(TILE)))
        assert first_begun.wait(60)
        second = pool.submit(batcher.predict, Rows(numbered(4 * TILE)))

        # then all rows of both are in calls of half as many
        for asked in (first, second):
            predicted = asked.result(60)
            assert TILE // 2 == predicted.tile_items
            assert {TILE // 2} == set(predicted.outputs.only[:, 1].tolist())


def test_a_row_that_does_not_fit_alone_is_declined_and_the_batcher_goes_on(
    new_batcher: Callable[..., Batcher],
) -> None:
    device = SmallDevice(fits_items=0)
    batcher = new_batcher(_Predictor(device.predict))

    with pytest.raises(ModelDeclinedError, match="not even one"):
        batcher.predict(Rows(numbered(3)))

    # when other models are gone
    device.fits_items = 1
    assert 1 == batcher.predict(Rows(numbered(3))).tile_items


def test_callers_whose_rows_were_in_no_call_of_a_lost_device_are_not_blamed(
    new_batcher: Callable[..., Batcher],
) -> None:
    # given a caller whose rows are in a call, and others that wait
    device, noted = SmallDevice(fits_items=TILE), threading.Event()
    entered, may_go = threading.Semaphore(0), threading.Event()

    def predict(tile: np.ndarray, tile_items: int) -> np.ndarray:
        entered.release()
        assert may_go.wait(60)
        return device.predict(tile, tile_items)

    batcher = new_batcher(_Predictor(predict, streams=1, calls_ahead=1), on_lost=noted.set)
    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(batcher.predict, Rows(numbered(40))) for _ in range(4)]
        assert entered.acquire(timeout=60)
        device.is_lost = True

        # when the device is lost
        may_go.set()

        assert not wait(callers, timeout=60).not_done
    errors = [type(caller.exception()).__name__ for caller in callers]
    assert ["DeviceLostError", *["ModelDeclinedError"] * 3] == sorted(errors)
    assert noted.wait(60)
    # and no more than the calls that were under way
    assert len(device.given) <= 2
    with pytest.raises(ModelDeclinedError, match="ILLEGAL_ADDRESS"):
        batcher.predict(Rows(numbered(1)))


def _predicted(found: Predicted) -> np.ndarray:
    assert found.outputs is not None
    return found.outputs.only


def test_memory_of_tiles_is_filled_anew_and_what_only_fills_it_is_blank(
    new_batcher: Callable[..., Batcher],
) -> None:
    # given a device that gives back what it was given, and tiles of two callers' rows
    given: list[np.ndarray] = []

    def predict(tile: np.ndarray, _tile_items: int) -> np.ndarray:
        given.append(tile.copy())
        return tile.copy()

    predictor = _Predictor(predict, streams=1, calls_ahead=0, part_items=4)
    batcher = new_batcher(predictor)

    for count in (7, 1, 6, 2):
        rows = numbered(count) + 1
        np.testing.assert_array_equal(rows, _predicted(batcher.predict(Rows(rows))))
        assert not given[-1][count:].any()
    assert [8, 4, 8, 4] == [len(tile) for tile in given]


def test_an_isolated_process_halves_calls_too_and_names_their_rows() -> None:
    # given a shard in a process of its own, on a device that takes 2 rows
    shard, takes = object.__new__(isolated._Shard), taking([2])
    shard._predictor = _Predictor(SmallDevice(fits_items=2).predict)
    shard._manifest = SimpleNamespace(takes=takes)
    items = Items.of_columns([numbered(5)], takes=takes)

    predicted = shard._predicted(items)

    assert {2.0} == set(predicted[0].outputs.only[:, 1].tolist())
    assert {"tile_items": 2} == call_sizes(items, predicted, takes=takes)
