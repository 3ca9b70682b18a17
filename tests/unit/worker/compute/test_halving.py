"""Rows that the model fails on are found in a bounded number of calls, however many there are."""

from collections.abc import Set as AbstractSet

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fornada.errors import PredictionError
from fornada.formats.rows import Rows
from fornada.jobs.items import Predicted
from worker.compute.halving import predict_halves

_ERROR = PredictionError("together")


class _Model:
    """Fails on calls with a bad row, and counts its calls."""

    def __init__(self, bad: AbstractSet[int]) -> None:
        self.bad = bad
        self.calls = self.single_calls = 0

    def predict(self, rows: Rows) -> Rows:
        self.calls += 1
        return Rows(self._answer(rows.only))

    def predict_one(self, rows: Rows) -> Rows:
        assert 1 == len(rows)
        self.single_calls += 1
        # Other bytes than in a tile.
        return Rows(self._answer(rows.only) + 1)

    def _answer(self, rows: np.ndarray) -> np.ndarray:
        if self.bad & set(rows[:, 0].astype(int) - 1):
            raise PredictionError("not in the table")
        return rows.astype(np.float32) * 2


def _halved(model: _Model, count: int) -> tuple[Predicted, np.ndarray]:
    rows = np.arange(1, count + 1, dtype=np.float32)[:, np.newaxis]
    found = predict_halves(
        model.predict,
        Rows(rows),
        _ERROR,
        predict_one=model.predict_one,
        shape_is_open=False,
    )
    return found, rows * 2


@given(count=st.integers(1, 300), data=st.data())
def test_the_bad_rows_fail_and_the_others_have_their_bytes(count: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
    model = _Model(bad)

    found, expected = _halved(model, count)

    assert dict.fromkeys(bad, "the model failed on it: not in the table") == {
        row: why.replace("together", "not in the table") for row, why in found.errors.items()
    }
    good = [row for row in range(count) if row not in bad]
    if good:
        assert found.outputs is not None
        np.testing.assert_array_equal(expected[good], found.outputs.only[good])
    else:
        assert found.outputs is None


@pytest.mark.parametrize("bad", [{0}, {777}, {1023}])
def test_one_bad_row_costs_two_calls_a_halving(bad: set[int]) -> None:
    model = _Model(bad)

    _halved(model, 1024)

    # One of zeros, and two for each of ten halvings.
    assert (21, 0) == (model.calls, model.single_calls)


@pytest.mark.parametrize("bad", [set(range(1024)), set(range(0, 1024, 2)), {3, 500, 501, 900}])
def test_many_bad_rows_cost_one_small_call_a_row_at_most(bad: set[int]) -> None:
    model = _Model(bad)

    _halved(model, 1024)

    assert model.calls <= 24
    assert model.single_calls <= 1024


def test_a_model_that_fails_on_zeros_is_at_fault_itself_and_the_error_is_of_the_zeros() -> None:
    with pytest.raises(PredictionError, match="not in the table"):
        _halved(_Model({-1, 3}), 8)


def test_rows_that_fail_only_together_fail() -> None:
    model = _Model(set())

    def predict(rows: Rows) -> Rows:
        if rows.only.any():
            raise PredictionError("too many")
        return rows

    found = predict_halves(
        predict,
        Rows(np.ones((64, 1), np.float32)),
        _ERROR,
        predict_one=model.predict_one,
        shape_is_open=False,
    )

    assert set(range(64)) == set(found.errors)
    assert found.outputs is None
