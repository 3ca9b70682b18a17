"""One probability for two classes: counts at a threshold, curves over all."""

import math

import numpy as np
import pytest

from fornada.errors import InputError
from trainer.evaluation.binary import evaluate_binary, threshold_curves

_CLASSES = ["ham", "spam"]
_LABELS = np.array([0, 0, 1, 1, 1])
_OUTPUTS = np.array([[0.1], [0.6], [0.4], [0.9], [math.nan]], np.float32)


def test_counts_follow_the_threshold_and_leave_out_items_without_a_result() -> None:
    for threshold, counts in ((0.5, (1, 1, 1, 1)), (0.4, (2, 1, 1, 0)), (1.0, (0, 0, 2, 2))):
        found = evaluate_binary(_OUTPUTS, _LABELS, _CLASSES, threshold=threshold)

        assert counts == (
            found.true_positives,
            found.false_positives,
            found.true_negatives,
            found.false_negatives,
        )
        assert (5, 1) == (found.items, found.failed)
        assert found.right / 5 == found.accuracy


def test_rates_are_those_of_the_second_class() -> None:
    found = evaluate_binary(_OUTPUTS, _LABELS, _CLASSES, threshold=0.4)

    assert (2 / 3, 1.0, 0.5, 0.8) == (found.precision, found.recall, found.specificity, found.f1)
    assert 0.75 == found.roc_auc
    assert pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4) == found.brier_score
    nothing = evaluate_binary(_OUTPUTS[:2], _LABELS[:2], _CLASSES, threshold=1.0)
    assert (None, None, None) == (nothing.precision, nothing.recall, nothing.roc_auc)
    assert {"accuracy", "f1", "threshold", "false_positives"} < nothing.to_plain().keys()


def test_curves_run_from_nothing_positive_to_everything() -> None:
    curves = threshold_curves(_OUTPUTS, _LABELS)

    assert curves is not None
    ends = (curves.false_positive_rate[[0, -1]], curves.true_positive_rate[[0, -1]])
    assert ([0, 1], [0, 1]) == tuple(end.tolist() for end in ends)
    assert (0.5, 1.0) == (curves.precision[0], curves.recall[0])
    assert threshold_curves(_OUTPUTS[:2], _LABELS[:2]) is None


def test_outputs_and_labels_that_do_not_fit_are_refused() -> None:
    for outputs, labels, fact in (
        (_OUTPUTS + 1, _LABELS, "range from 1.1 to 1.9 and are not probabilities"),
        (_OUTPUTS[:2], _LABELS, r"two classes need float \(5, 1\)"),
        (_OUTPUTS, _LABELS + 1, "up to 2; give 0 or 1 per item"),
        (_OUTPUTS * math.nan, _LABELS, "none of the 5 items has a result"),
    ):
        with pytest.raises(InputError, match=fact):
            evaluate_binary(outputs, labels, _CLASSES, threshold=0.5)
