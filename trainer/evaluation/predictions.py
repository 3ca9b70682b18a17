"""Predicted classes beside the true ones, item by item: one class each, or several labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from trainer.evaluation.classification import likeliest_classes


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """What a model predicts for each item, and what is true."""

    classes: Sequence[str]
    #: float [items, classes]; a row with NaN has no result. Of a binary model too, both classes.
    probabilities: NDArray[Any]
    #: int [items], one class each, -1 without a result; or bool [items, classes], several labels.
    true: NDArray[Any]
    predicted: NDArray[Any]
    #: Probability from which a label applies; `None` where one class is predicted.
    threshold: float | None = None

    @property
    def are_labels(self) -> bool:
        """Whether several classes may apply to an item."""
        return self.true.ndim > 1

    @property
    def present(self) -> NDArray[np.bool_]:
        """Whether each item has a result: bool [items]."""
        present: NDArray[np.bool_] = ~np.isnan(self.probabilities).any(axis=1)
        return present

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each item has all its classes right: bool [items]."""
        same = self.true == self.predicted
        right: NDArray[np.bool_] = (same.all(axis=1) if self.are_labels else same) & self.present
        return right

    def true_of(self, item: int) -> list[int]:
        """The true classes of an item."""
        return _positions(self.true[item])

    def predicted_of(self, item: int) -> list[int]:
        """The predicted classes of an item; none without a result."""
        return _positions(self.predicted[item]) if self.present[item] else []

    def surest_mistakes(self, limit: int) -> NDArray[np.intp]:
        """Positions of the wrong items that the model was surest of, the surest first."""
        wrong = np.flatnonzero(~self.right & self.present)
        shares = self.probabilities[wrong]
        if self.are_labels:
            missed = np.where(self.true[wrong], 1 - shares, shares)
            sureness = np.where(self.true[wrong] != self.predicted[wrong], missed, 0)
        else:
            sureness = np.take_along_axis(shares, self.predicted[wrong][:, None], axis=1)
        order = np.argsort(-sureness.max(axis=1, initial=0), kind="stable")
        return wrong[order[:limit]]


def of_one_class(probabilities: NDArray[Any], labels: Array, classes: Sequence[str]) -> Predictions:
    """Predictions of the likeliest class.

    Args:
        probabilities: float [items, classes].
        labels: int [items].
        classes: Names of the classes.
    """
    return Predictions(
        classes=classes,
        probabilities=probabilities,
        true=labels.astype(np.intp),
        predicted=likeliest_classes(probabilities),
    )


def of_two_classes(
    outputs: NDArray[Any], labels: Array, classes: Sequence[str], *, threshold: float
) -> Predictions:
    """Predictions of the second of two classes, from `threshold` on.

    Args:
        outputs: float [items, 1], the probability of the second class.
        labels: int [items], 0 or 1.
        classes: Names of both.
        threshold: The least probability of the second class.
    """
    positive = outputs[:, 0]
    predicted = np.where(np.isnan(positive), -1, positive >= threshold)
    return Predictions(
        classes=classes,
        probabilities=np.stack([1 - positive, positive], axis=1),
        true=labels.astype(np.intp),
        predicted=predicted.astype(np.intp),
    )


def of_labels(
    probabilities: NDArray[Any], targets: Array, classes: Sequence[str], *, threshold: float
) -> Predictions:
    """Predictions of every class from `threshold` on.

    Args:
        probabilities: float [items, classes].
        targets: 0 or 1 [items, classes].
        classes: Names of the classes.
        threshold: The least probability of a class that applies.
    """
    return Predictions(
        classes=classes,
        probabilities=probabilities,
        true=targets.astype(bool),
        predicted=probabilities >= threshold,
        threshold=threshold,
    )


def confusion_matrix(predictions: Predictions) -> NDArray[np.int64]:
    """Items by true and predicted class: int64 [true class, predicted class].

    Items without a result are left out. Memory grows with the number of classes squared.

    Args:
        predictions: Of one class per item.
    """
    present, count = predictions.present, len(predictions.classes)
    counts = np.zeros((count, count), np.int64)
    np.add.at(counts, (predictions.true[present], predictions.predicted[present]), 1)
    return counts


def _positions(row: Any) -> list[int]:
    if np.ndim(row):
        return [int(position) for position in np.flatnonzero(row)]
    return [int(row)] if row >= 0 else []
