"""Errors of predicted values, with items that have no result."""

import math

import numpy as np
import pytest

from fornada.errors import InputError
from trainer.evaluation.regression import evaluate_values, residuals

_TARGETS = np.array([1, 2, 3, 4], np.float32)
_VALUES = np.array([[2], [2], [3], [2]], np.float32)


def test_errors_are_in_the_unit_of_the_targets() -> None:
    evaluation = evaluate_values(_VALUES, _TARGETS)

    assert 0.75 == evaluation.mean_absolute_error
    assert pytest.approx(math.sqrt(5 / 4)) == evaluation.root_mean_squared_error
    assert 0.0 == evaluation.r_squared
    assert (4, 0) == (evaluation.items, evaluation.failed)


def test_perfect_values_explain_all_variance() -> None:
    assert 1.0 == evaluate_values(_TARGETS[:, None], _TARGETS).r_squared


def test_equal_targets_have_no_variance_to_explain() -> None:
    assert evaluate_values(_VALUES, np.ones(4, np.float32)).r_squared is None


def test_items_without_a_result_are_counted_and_left_out() -> None:
    values = _VALUES.copy()
    values[3] = math.nan

    evaluation = evaluate_values(values, _TARGETS)

    assert 1 == evaluation.failed
    assert pytest.approx(1 / 3) == evaluation.mean_absolute_error


def test_a_residual_is_predicted_minus_true() -> None:
    assert [1, 0, 0, -2] == residuals(_VALUES, _TARGETS).tolist()


def test_values_and_targets_that_do_not_fit_are_refused() -> None:
    for values, targets, fact in (
        (_VALUES[:3], _TARGETS, r"need float \(4, 1\)"),
        (_VALUES[:, 0], _TARGETS, r"are float32 \(4,\)"),
        (_VALUES, _TARGETS[:0], "one number per item"),
        (_VALUES, _TARGETS[:, None], "one number per item"),
        (np.full((4, 1), np.nan, np.float32), _TARGETS, "none of the 4 items has a result"),
    ):
        with pytest.raises(InputError, match=fact):
            evaluate_values(values, targets)
