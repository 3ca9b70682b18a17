"""The batcher: fixed tiles, and each caller gets its own rows and errors."""

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fornada.errors import FornadaError, PredictionError
from fornada.formats.rows import Rows
from worker.compute.batcher import Batcher as RealBatcher

from ....arrays import giving, on_rows, taking

TILE = 8


class Batcher:
    """Asks a real one for rows of which none fails."""

    def __init__(
        self,
        predict: Callable[[np.ndarray], np.ndarray],
        *,
        streams: int,
        calls_ahead: int,
        max_latency_s: float,
        tile_items: int = TILE,
        shape: Sequence[int | None] = (2,),
    ) -> None:
        self.real = RealBatcher(
            SimpleNamespace(
                streams=streams,
                calls_ahead=calls_ahead,
                part_items=None,
                rows_for=lambda _shape: tile_items,
                predict_tile=on_rows(predict),
                predict_one=on_rows(predict),
            ),
            takes=taking(shape),
            gives=giving(2),
            max_latency_s=max_latency_s,
        )

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The outputs alone."""
        predicted = self.real.predict(Rows(rows))
        assert {} == predicted.errors
        assert predicted.outputs is not None
        return predicted.outputs.only

    def until_asked(self, count: int) -> None:
        """Wait for so many requests with rows that are in no tile."""
        changed = self.real._changed

        def asked() -> int:
            return sum(len(queue.requests) for queue in self.real._queues.values())

        with changed:
            assert changed.wait_for(lambda: asked() >= count, timeout=60)


class _Model:
    """Row-wise predict that records its tiles, and can be held."""

    def __init__(self) -> None:
        self.tiles: list[np.ndarray] = []
        #: Number of a call → the error that it raises.
        self.errors: dict[int, Exception] = {}
        self.may_go = threading.Event()
        self.may_go.set()
        self.entered = threading.Semaphore(0)

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        self.entered.release()
        assert self.may_go.wait(60)
        self.tiles.append(tile.copy())
        if error := self.errors.get(len(self.tiles)):
            raise error
        return answers(tile)


def answers(rows: np.ndarray) -> np.ndarray:
    wide = rows.reshape(len(rows), -1).astype(np.float32)
    return np.stack([wide.sum(axis=1), wide.max(axis=1)], axis=1)


def numbered(first: int, count: int) -> np.ndarray:
    """Distinct rows: float32 [count, 2]."""
    return np.stack([np.arange(first, first + count)] * 2, axis=1).astype(np.float32) + 1


@pytest.fixture
def model() -> _Model:
    return _Model()


@pytest.fixture
def new_batcher(model: _Model) -> Iterator[Callable[..., Batcher]]:
    made: list[Batcher] = []

    def build(
        predict: Callable = model,
        *,
        streams: int = 1,
        calls_ahead: int = 0,
        max_latency_s: float = 0.0,
    ) -> Batcher:
        made.append(
            Batcher(
                predict,
                streams=streams,
                calls_ahead=calls_ahead,
                max_latency_s=max_latency_s,
            )
        )
        return made[-1]

    yield build
    model.may_go.set()
    for batcher in made:
        batcher.real.close()


def test_rows_of_many_threads_come_back_to_their_callers_in_order(
    new_batcher: Callable[..., Batcher],
) -> None:
    batcher = new_batcher(max_latency_s=0.001)
    asked = [numbered(100 * caller, 1 + caller % 21) for caller in range(64)]

    with ThreadPoolExecutor(16) as pool:
        given_back = list(pool.map(batcher.predict, asked))

    for rows, outputs in zip(asked, given_back, strict=True):
        np.testing.assert_array_equal(answers(rows), outputs)


@pytest.mark.parametrize("count", [1, TILE - 1, TILE, TILE + 1, 5 * TILE, 5 * TILE + 3])
def test_every_tile_has_the_same_shape_and_zeros_after_the_rows(
    count: int, model: _Model, new_batcher: Callable[..., Batcher]
) -> None:
    new_batcher().predict(numbered(0, count))

    assert {(TILE, 2)} == {tile.shape for tile in model.tiles}
    assert {np.dtype(np.float32)} == {tile.dtype for tile in model.tiles}
    assert -(-count // TILE) == len(model.tiles)
    padding = np.concatenate(model.tiles)[count:]
    assert not padding.any()


def test_rows_of_several_callers_share_a_tile(
    model: _Model, new_batcher: Callable[..., Batcher]
) -> None:
    # given a predict call under way, and four more callers
    batcher = new_batcher()
    model.may_go.clear()
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(batcher.predict, numbered(0, TILE))
        assert model.entered.acquire(timeout=60)
        others = [pool.submit(batcher.predict, numbered(n * 100, 2)) for n in range(1, 5)]
        batcher.until_asked(4)

        # when it ends
        model.may_go.set()
        first.result(timeout=60)

        # then the four share one tile
        for n, other in enumerate(others, start=1):
            np.testing.assert_array_equal(answers(numbered(n * 100, 2)), other.result(timeout=60))
    assert 2 == len(model.tiles)


def test_an_error_reaches_only_the_caller_of_the_failing_rows(
    model: _Model, new_batcher: Callable[..., Batcher]
) -> None:
    # given a second tile with rows of two callers, one of whom has more rows than fit
    batcher = new_batcher(max_latency_s=0.05)
    model.errors[2] = PredictionError("out of order, together")
    # Rows of zeros fail too, so it is not the rows.
    model.errors |= {3: PredictionError("out of order, alone"), 4: PredictionError("again")}
    model.may_go.clear()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(batcher.predict, numbered(0, TILE))
        assert model.entered.acquire(timeout=60)
        few = pool.submit(batcher.predict, numbered(0, 2))
        batcher.until_asked(1)
        many = pool.submit(batcher.predict, numbered(0, 3 * TILE))
        batcher.until_asked(2)

        # when that tile fails, and the rows of one of them fail alone too
        model.may_go.set()

        # then that caller gets the error of the zeros, and the others their rows
        assert 2 == len(first.result(timeout=60)[0])
        with pytest.raises(PredictionError, match="again"):
            few.result(timeout=60)
        np.testing.assert_array_equal(answers(numbered(0, 3 * TILE)), many.result(timeout=60))
    np.testing.assert_array_equal(answers(numbered(7, 8)), batcher.predict(numbered(7, 8)))


def test_after_an_error_the_rest_of_the_request_is_not_predicted(
    model: _Model, new_batcher: Callable[..., Batcher]
) -> None:
    batcher = new_batcher()
    # The call of zeros fails too, so it is the model.
    model.errors |= {1: PredictionError("out of order"), 2: PredictionError("again")}

    with pytest.raises(PredictionError, match="again"):
        batcher.predict(numbered(0, 10 * TILE))
    batcher.predict(numbered(0, 1))

    assert 3 == len(model.tiles)


@pytest.mark.parametrize("bad", [[0], [3, 4, 17], [16], list(range(8, 16)), list(range(20))])
def test_rows_that_the_model_fails_on_fail_alone(
    bad: list[int], new_batcher: Callable[..., Batcher]
) -> None:
    # given a model that fails on calls with some rows
    rows = numbered(0, 20)

    def fails(tile: np.ndarray) -> np.ndarray:
        if np.isin(rows[bad, 0], tile[:, 0]).any():
            raise PredictionError("not in [0, 4)")
        return answers(tile)

    # when
    found = new_batcher(fails).real.predict(Rows(rows))

    # then the others have the bytes that they always have
    good = [row for row in range(20) if row not in bad]
    assert dict.fromkeys(bad, "the model failed on it: not in [0, 4)") == found.errors
    if good:
        np.testing.assert_array_equal(answers(rows)[good], found.outputs.only[good])
    else:
        assert found.outputs is None


def test_memory_errors_reach_all_callers_as_they_are_and_nothing_is_tried_again(
    model: _Model, new_batcher: Callable[..., Batcher]
) -> None:
    # Given a tile with rows of two callers, behind another
    batcher = new_batcher(max_latency_s=0.05)
    model.errors[2] = MemoryError("device")
    model.may_go.clear()
    with ThreadPoolExecutor(3) as pool:
        pool.submit(batcher.predict, numbered(0, TILE))
        assert model.entered.acquire(timeout=60)
        two = [pool.submit(batcher.predict, numbered(0, 2)) for _ in range(2)]
        batcher.until_asked(2)

        # When
        model.may_go.set()

        # Then
        for call in two:
            with pytest.raises(MemoryError):
                call.result(timeout=60)
    assert 2 == len(model.tiles)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda tile: answers(tile)[:-1],
        lambda tile: answers(tile).astype(np.float64),
        lambda tile: answers(tile)[:, 0],
        lambda tile: answers(tile)[:, :, np.newaxis],
    ],
    ids=["a row less", "float64", "no outputs axis", "an axis more"],
)
def test_outputs_of_another_shape_or_dtype_are_refused(
    wrong: Callable, new_batcher: Callable[..., Batcher]
) -> None:
    batcher = new_batcher(wrong)

    for _ in range(2):
        with pytest.raises(PredictionError, match=r"the model gives float32 \[8, 2\]"):
            batcher.predict(numbered(0, 2))


def test_close_answers_all_requests(model: _Model, new_batcher: Callable[..., Batcher]) -> None:
    # given a call under way, and a partial tile that waits for rows on their way
    batcher = new_batcher(max_latency_s=600.0)
    model.may_go.clear()
    with batcher.real.expecting(), ThreadPoolExecutor(3) as pool:
        running = pool.submit(batcher.predict, numbered(0, TILE))
        assert model.entered.acquire(timeout=60)
        waiting = pool.submit(batcher.predict, numbered(50, 3 * TILE + 1))
        batcher.until_asked(1)

        # when it is closed
        closing = pool.submit(batcher.real.close)
        model.may_go.set()

        # then both get their rows without waiting out the latency
        closing.result(timeout=60)
        np.testing.assert_array_equal(answers(numbered(0, TILE)), running.result(timeout=60))
        np.testing.assert_array_equal(
            answers(numbered(50, 3 * TILE + 1)), waiting.result(timeout=60)
        )


def test_a_closed_batcher_does_not_blame_the_model(new_batcher: Callable[..., Batcher]) -> None:
    batcher = new_batcher()
    for _ in range(2):
        batcher.real.close()

        with pytest.raises(FornadaError, match="unloaded") as caught:
            batcher.predict(numbered(0, 1))

        # A PredictionError would end the caller's whole job.
        assert not isinstance(caught.value, PredictionError)


@pytest.mark.parametrize(
    ("streams", "calls_ahead"), [(3, 0), (1, 2)], ids=["all computed", "two wait in the engine"]
)
def test_tiles_computed_at_a_time_come_back_in_order(
    streams: int, calls_ahead: int, model: _Model, new_batcher: Callable[..., Batcher]
) -> None:
    # given a model that holds every call
    batcher = new_batcher(streams=streams, calls_ahead=calls_ahead)
    model.may_go.clear()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(batcher.predict, numbered(0, 5 * TILE))

        # then three calls are in it at once, and no fourth
        assert all(model.entered.acquire(timeout=60) for _ in range(3))
        assert not model.entered.acquire(timeout=0.05)
        model.may_go.set()

        np.testing.assert_array_equal(answers(numbered(0, 5 * TILE)), asked.result(timeout=60))


def test_a_partial_tile_waits_for_a_stream_and_more_rows(
    model: _Model, new_batcher: Callable[..., Batcher]
) -> None:
    # given a call under way, and room for another in the engine
    batcher = new_batcher(streams=1, calls_ahead=1)
    model.may_go.clear()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(batcher.predict, numbered(0, TILE))
        assert model.entered.acquire(timeout=60)

        # when a few rows come, and later a few more
        few = pool.submit(batcher.predict, numbered(100, 2))
        assert not model.entered.acquire(timeout=0.05)
        more = pool.submit(batcher.predict, numbered(200, 3))
        batcher.until_asked(2)
        model.may_go.set()

        # then they share one tile
        assert TILE == len(first.result(timeout=60))
        np.testing.assert_array_equal(answers(numbered(100, 2)), few.result(timeout=60))
        np.testing.assert_array_equal(answers(numbered(200, 3)), more.result(timeout=60))
    assert 2 == len(model.tiles)


def test_a_partial_tile_waits_for_rows_on_their_way(
    model: _Model, new_batcher: Callable[..., Batcher]
) -> None:
    # given rows of a caller, and those of another on their way
    batcher = new_batcher(streams=2, max_latency_s=600.0)
    with ThreadPoolExecutor(1) as pool, batcher.real.expecting() as predict_groups:
        few = pool.submit(batcher.predict, numbered(100, 2))
        batcher.until_asked(1)
        assert not model.entered.acquire(timeout=0.05)

        # when these come
        (predicted,) = predict_groups([Rows(numbered(200, 3))])

        # then they share a tile, and what comes next waits no longer
        np.testing.assert_array_equal(answers(numbered(200, 3)), predicted.outputs.only)
        np.testing.assert_array_equal(answers(numbered(100, 2)), few.result(timeout=60))
        assert 1 == len(model.tiles)
        assert 1 == len(pool.submit(batcher.predict, numbered(0, 1)).result(timeout=60))


def test_a_partial_tile_waits_neither_for_nothing_nor_for_ever(
    model: _Model, new_batcher: Callable[..., Batcher]
) -> None:
    patient = new_batcher(max_latency_s=600.0)
    with ThreadPoolExecutor(1) as pool:
        # given nothing on its way
        assert 1 == len(pool.submit(patient.predict, numbered(0, 1)).result(timeout=60))

        # when the rows on their way do not come
        with patient.real.expecting():
            lone = pool.submit(patient.predict, numbered(0, 2))
            patient.until_asked(1)
        np.testing.assert_array_equal(answers(numbered(0, 2)), lone.result(timeout=60))

    # or come late
    hasty = new_batcher(max_latency_s=0.01)
    with hasty.real.expecting():
        np.testing.assert_array_equal(answers(numbered(0, 3)), hasty.predict(numbered(0, 3)))
    assert 3 == len(model.tiles)


def test_a_request_that_fails_in_two_streams_fails_once(
    model: _Model, new_batcher: Callable[..., Batcher]
) -> None:
    batcher = new_batcher(streams=2)
    model.errors = {1: ValueError("first"), 2: ValueError("second")}

    def asked_in_both(pool: ThreadPoolExecutor) -> Future:
        model.may_go.clear()
        asked = pool.submit(batcher.predict, numbered(0, 2 * TILE))
        assert all(model.entered.acquire(timeout=60) for _ in range(2))
        model.may_go.set()
        return asked

    with ThreadPoolExecutor(1) as pool:
        failed = asked_in_both(pool)
        with pytest.raises(ValueError, match=r"first|second"):
            failed.result(timeout=60)

        # and both continue
        asked = asked_in_both(pool)
        np.testing.assert_array_equal(answers(numbered(0, 2 * TILE)), asked.result(timeout=60))


def test_a_stream_that_comes_too_late_waits_for_the_next_rows(
    model: _Model, new_batcher: Callable[..., Batcher]
) -> None:
    # given two streams that wait for the same rows
    batcher = new_batcher(streams=2, max_latency_s=0.01)

    for first in range(5):
        found = batcher.predict(numbered(first, 1))

        np.testing.assert_array_equal(answers(numbered(first, 1)), found)
    assert 5 == len(model.tiles)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    calls=st.tuples(st.integers(1, 4), st.integers(0, 2)),
    tile=st.integers(1, 17),
    latency_ms=st.integers(0, 2),
    seed=st.integers(0, 2**16),
)
def test_however_items_are_split_the_outputs_are_those_of_one_call(
    rows: list[int], calls: tuple[int, int], tile: int, latency_ms: int, seed: int
) -> None:
    items = np.random.default_rng(seed).random((sum(rows), 5)).astype(np.float32)
    batcher = Batcher(
        answers,
        streams=calls[0],
        calls_ahead=calls[1],
        tile_items=tile,
        shape=[5],
        max_latency_s=latency_ms / 1000,
    )
    try:
        whole = batcher.predict(items)
        stops = np.cumsum(rows)
        with ThreadPoolExecutor(4) as pool:
            split = list(pool.map(batcher.predict, np.split(items, stops[:-1])))
    finally:
        batcher.real.close()

    assert whole.tobytes() == np.concatenate(split).tobytes()


# Open sizes.


def _by_length(predict: Callable[[np.ndarray], np.ndarray]) -> RealBatcher:
    """Of items of any length: 8 rows a call up to length 3, else 2."""
    return RealBatcher(
        SimpleNamespace(
            streams=2,
            calls_ahead=1,
            part_items=None,
            rows_for=lambda shapes: TILE if shapes[0][0] <= 3 else 2,
            predict_tile=on_rows(predict),
            predict_one=on_rows(predict),
        ),
        takes=taking([None]),
        gives=giving(2),
        max_latency_s=0.001,
    )


@settings(max_examples=40, deadline=None)
@given(
    callers=st.lists(
        st.lists(st.tuples(st.integers(1, 6), st.integers(1, 20)), min_size=1, max_size=6),
        min_size=1,
        max_size=6,
    ),
    seed=st.integers(0, 2**16),
)
def test_items_of_several_shapes_share_tiles_with_their_own_shape_alone(
    callers: list[list[tuple[int, int]]], seed: int
) -> None:
    # given callers with rows of several lengths each
    rng = np.random.default_rng(seed)
    asked = [
        [rng.random((count, length)).astype(np.float32) for length, count in groups]
        for groups in callers
    ]
    tiles: list[tuple[int, ...]] = []

    def predict(tile: np.ndarray) -> np.ndarray:
        tiles.append(tile.shape)
        return answers(tile)

    # when they ask at the same time
    batcher = _by_length(predict)
    try:
        with ThreadPoolExecutor(len(asked)) as pool:
            found = list(
                pool.map(lambda groups: batcher.predict_groups(list(map(Rows, groups))), asked)
            )
    finally:
        batcher.close()

    # then the rows of a call follow from their shape, and each caller has its own
    assert {(TILE if length <= 3 else 2, length) for _, length in tiles} == set(tiles)
    for groups, predicted in zip(asked, found, strict=True):
        for rows, (outputs, errors, tile_items) in zip(groups, predicted, strict=True):
            np.testing.assert_array_equal(answers(rows), outputs.only)
            assert ({}, TILE if rows.shape[1] <= 3 else 2) == (errors, tile_items)


def test_a_size_that_the_model_cannot_take_fails_its_items_alone() -> None:
    def predict(tile: np.ndarray) -> np.ndarray:
        if tile.shape[1] < 2:
            raise PredictionError("too small")
        return answers(tile)

    batcher = _by_length(predict)
    try:
        small, good = batcher.predict_groups(
            [Rows(np.ones((3, 1), np.float32)), Rows(numbered(0, 3))]
        )
    finally:
        batcher.close()

    assert dict.fromkeys(range(3), "the model failed on it: too small") == small.errors
    assert small.outputs is None
    np.testing.assert_array_equal(answers(numbered(0, 3)), good.outputs.only)


def test_a_lone_size_is_not_kept_waiting_by_full_tiles_of_another() -> None:
    # given a full tile of another size whenever a stream is free
    calls: list[int] = []

    def predict(tile: np.ndarray) -> np.ndarray:
        calls.append(tile.shape[1])
        if 3 not in calls:
            with batcher._changed:
                batcher._added(Rows(numbered(0, TILE)))
        return answers(tile)

    batcher = _by_length(predict)

    # when a row of its own size comes
    asked = [Rows(numbered(0, 4 * TILE)), Rows(np.ones((1, 3), np.float32))]
    _, lone = batcher.predict_groups(asked)
    batcher.close()

    # then it is predicted after the tiles that were full
    np.testing.assert_array_equal([[3, 1]], lone.outputs.only)
    assert [2, 2, 2, 2] == calls[:4]


def test_an_idle_batcher_holds_no_rows_of_its_callers(
    new_batcher: Callable[..., Batcher], wait_until: Callable[..., None]
) -> None:
    batcher, rows = new_batcher(), numbered(0, 3 * TILE)
    gone = weakref.ref(rows)

    batcher.predict(rows)
    del rows

    wait_until(lambda: gone() is None)
