"""Confidence is compared with accuracy as in Guo et al. (2017)."""

import math

import numpy as np
import pytest

from trainer.evaluation.calibration import BIN_COUNT, calibrate


def _rows(*confidences: float) -> np.ndarray:
    """The first class has the confidence, the second the rest."""
    return np.array([[confidence, 1 - confidence] for confidence in confidences])


def test_a_model_as_accurate_as_confident_has_no_error() -> None:
    calibration = calibrate(_rows(0.75, 0.75, 0.75, 0.75), np.array([0, 0, 0, 1]))

    assert 0 == calibration.error
    assert calibration.confidence == calibration.accuracy == 0.75
    assert 4 == calibration.items


def test_the_error_is_the_gap_of_each_bin_weighted_by_its_items() -> None:
    # Three items at 0.9 of which one is right, one at 0.6 that is right.
    calibration = calibrate(_rows(0.9, 0.9, 0.9, 0.6), np.array([0, 1, 1, 0]))

    assert pytest.approx(3 / 4 * (0.9 - 1 / 3) + 1 / 4 * 0.4, abs=1e-6) == calibration.error
    assert pytest.approx((3 * 0.9 + 0.6) / 4, abs=1e-6) == calibration.confidence
    assert pytest.approx(2 / 4, abs=1e-6) == calibration.accuracy


def test_a_bin_holds_its_upper_edge_and_not_its_lower_one() -> None:
    calibration = calibrate(_rows(1.0, np.linspace(0, 1, BIN_COUNT + 1)[10]), np.array([0, 0]))

    filled = [bin_.upper for bin_ in calibration.bins if bin_.items]
    assert BIN_COUNT == len(calibration.bins)
    assert [pytest.approx(2 / 3), 1.0] == filled


def test_a_softmax_slightly_above_one_is_in_the_last_bin() -> None:
    calibration = calibrate(np.array([[1.0000001, 0]], np.float32), np.array([0]))

    assert 1 == calibration.bins[-1].items


def test_items_without_a_result_are_left_out() -> None:
    probabilities = np.vstack([_rows(0.75), np.full((1, 2), math.nan, np.float32)])

    assert 1 == calibrate(probabilities, np.array([0, 0])).items
    assert 0 == calibrate(probabilities[1:], np.array([0])).error
