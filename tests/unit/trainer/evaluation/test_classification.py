"""Accuracy, precision and recall, with items that have no result."""

import math

import numpy as np
import pytest

from fornada.errors import InputError
from trainer.evaluation.classification import evaluate
from trainer.evaluation.predictions import confusion_matrix, of_one_class

_CLASSES = ["a", "b", "c"]
_LABELS = np.array([0, 0, 1, 1])
_PROBABILITIES = np.array(
    [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [math.nan] * 3], np.float32
)


def test_items_without_a_result_are_wrong_and_counted_apart() -> None:
    evaluation = evaluate(_PROBABILITIES, _LABELS, _CLASSES)
    nothing = evaluate(np.full((2, 3), np.nan, np.float32), np.zeros(2, np.int64), _CLASSES)

    assert (0.0, 2, 0) == (nothing.accuracy, nothing.failed, nothing.classes[0].predicted)
    assert 0.5 == evaluation.accuracy
    assert (4, 2, 1) == (evaluation.items, evaluation.right, evaluation.failed)
    assert [("a", 2, 1), ("b", 2, 1), ("c", 0, 0)] == [
        (row.name, row.items, row.right) for row in evaluation.classes
    ]
    assert [0.5, 0.5, None] == [row.recall for row in evaluation.classes]


def test_precision_is_the_share_of_right_predictions_of_a_class() -> None:
    evaluation = evaluate(_PROBABILITIES, _LABELS, _CLASSES)

    assert [1, 2, 0] == [row.predicted for row in evaluation.classes]
    assert [1.0, 0.5, None] == [row.precision for row in evaluation.classes]
    assert [2 / 3, 0.5, None] == [row.f1 for row in evaluation.classes]


def test_the_confusion_matrix_has_true_classes_down_and_predicted_ones_across() -> None:
    counts = confusion_matrix(of_one_class(_PROBABILITIES, _LABELS, _CLASSES))

    assert [[1, 1, 0], [0, 1, 0], [0, 0, 0]] == counts.tolist()


def test_probabilities_and_labels_that_do_not_fit_are_refused() -> None:
    for probabilities, labels, fact in (
        (_PROBABILITIES[:3], _LABELS, r"the probabilities are float32 \(3, 3\)"),
        (_PROBABILITIES[:, :2], _LABELS, r"need float \(4, 3\)"),
        (np.zeros((4, 3), np.uint8), _LABELS, "are uint8"),
        (_PROBABILITIES, _LABELS.astype(np.float32), "the labels are float32"),
        (_PROBABILITIES, _LABELS[:, None], "one whole number per item"),
        (_PROBABILITIES[:0], _LABELS[:0], "the labels are"),
        (_PROBABILITIES, _LABELS + 2, "labels range from 2 to 3, but there are 3 classes"),
        (_PROBABILITIES, _LABELS - 1, "labels range from -1 to 0"),
    ):
        with pytest.raises(InputError, match=fact):
            evaluate(probabilities, labels, _CLASSES)
