"""Labels that apply together: each one counted at the threshold."""

import math

import numpy as np
import pytest

from fornada.errors import InputError
from trainer.evaluation.multilabel import evaluate_labels

_CLASSES = ["beach", "forest", "night"]
_TARGETS = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0]])
_OUTPUTS = np.array([[0.9, 0.8, 0.1], [0.9, 0.2, 0.7], [math.nan] * 3], np.float32)


def test_each_label_is_counted_at_the_threshold() -> None:
    found = evaluate_labels(_OUTPUTS, _TARGETS, _CLASSES, threshold=0.5)
    lower = evaluate_labels(_OUTPUTS, _TARGETS, _CLASSES, threshold=0.1)

    assert [("beach", 2, 2, 2), ("forest", 2, 1, 1), ("night", 0, 0, 1)] == [
        (score.name, score.items, score.right, score.predicted) for score in found.classes
    ]
    assert (3, 1, 1, 1 / 3) == (found.items, found.exact, found.failed, found.exact_share)
    assert (3 / 4, 3 / 4) == (found.micro.precision, found.micro.recall)
    assert pytest.approx((1 + 2 / 3 + 0) / 3) == found.macro_f1
    assert [2, 2, 2] == [score.predicted for score in lower.classes]


def test_the_json_has_each_label_and_all_together() -> None:
    plain = evaluate_labels(_OUTPUTS, _TARGETS, _CLASSES, threshold=0.5).to_plain()

    assert (0.75, 0.5, 1.0) == (
        plain["micro_f1"],
        plain["threshold"],
        plain["classes"][0]["precision"],
    )


def test_outputs_and_labels_that_do_not_fit_are_refused() -> None:
    for outputs, targets, fact in (
        (_OUTPUTS[:, :2], _TARGETS, r"need float \(3, 3\)"),
        (_OUTPUTS, _TARGETS[:, 0], "give 0 or 1 for each of 3 labels"),
        (_OUTPUTS, _TARGETS * 2, "give 0 or 1 for each of 3 labels"),
        (_OUTPUTS * 2, _TARGETS, "are not probabilities; end the model in a sigmoid"),
    ):
        with pytest.raises(InputError, match=fact):
            evaluate_labels(outputs, targets, _CLASSES, threshold=0.5)
