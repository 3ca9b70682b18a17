"""A classifier's probabilities measured against the true labels."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError
from fornada.formats.items import Array


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScore:
    """Recall and precision of one class."""

    name: str
    #: Items of the class.
    items: int
    #: Of these, items predicted right.
    right: int
    #: Items predicted as this class, rightly or wrongly.
    predicted: int

    @property
    def recall(self) -> float | None:
        """Share of the class's items predicted right; `None` if there are none."""
        return self.right / self.items if self.items else None

    @property
    def precision(self) -> float | None:
        """Share of these predictions that are right; `None` if there are none."""
        return self.right / self.predicted if self.predicted else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; `None` for a class that never occurs."""
        both = self.items + self.predicted
        return 2 * self.right / both if both else None

    def to_plain(self) -> dict[str, Any]:
        """The score as JSON."""
        rates = {"recall": self.recall, "precision": self.precision, "f1": self.f1}
        return dataclasses.asdict(self) | rates


def class_scores(classes: Sequence[str], counts: Sequence[Array]) -> list[ClassScore]:
    """The score of each class, of its items, those predicted right, and those predicted as it.

    Args:
        classes: Names.
        counts: Three of int [classes].
    """
    return [
        ClassScore(name=name, items=items, right=right, predicted=predicted)
        for name, items, right, predicted in zip(
            classes, *(count.tolist() for count in counts), strict=True
        )
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Accuracy over all items; precision and recall by class."""

    items: int
    right: int
    #: Items without a result (NaN in their row); they count as wrong.
    failed: int
    classes: list[ClassScore]

    @property
    def accuracy(self) -> float:
        """Share of all items predicted right."""
        return self.right / self.items

    def to_plain(self) -> dict[str, Any]:
        """The evaluation as JSON."""
        return {
            "accuracy": self.accuracy,
            "items": self.items,
            "right": self.right,
            "failed": self.failed,
            "classes": [score.to_plain() for score in self.classes],
        }


def likeliest_classes(probabilities: Array) -> NDArray[np.intp]:
    """The likeliest class of each item: int [items]; -1 for a row with NaN.

    Args:
        probabilities: float [items, classes].
    """
    likeliest = np.argmax(np.nan_to_num(probabilities, nan=-1.0), axis=1)
    return np.where(np.isnan(probabilities).any(axis=1), -1, likeliest)


def predicted_right(probabilities: Array, labels: Array) -> NDArray[np.bool_]:
    """Whether the likeliest class of each item is its label: bool [items]; false for NaN.

    Args:
        probabilities: float [items, classes].
        labels: int [items].
    """
    right: NDArray[np.bool_] = likeliest_classes(probabilities) == labels
    return right


def evaluate(probabilities: Array, labels: Array, classes: Sequence[str]) -> Evaluation:
    """Compare probabilities with labels.

    Args:
        probabilities: float [items, classes]; a row with NaN has no result.
        labels: int [items], positions in `classes`.
        classes: Names of the classes.

    Raises:
        InputError: They do not fit together.
    """
    _check(probabilities, labels, classes)
    labels = labels.astype(np.intp)
    likeliest, right = likeliest_classes(probabilities), predicted_right(probabilities, labels)
    counts = [
        np.bincount(positions, minlength=len(classes))
        for positions in (labels, labels[right], likeliest[likeliest >= 0])
    ]
    return Evaluation(
        items=len(labels),
        right=int(right.sum()),
        failed=int((likeliest < 0).sum()),
        classes=class_scores(classes, counts),
    )


def _check(probabilities: Array, labels: Array, classes: Sequence[str]) -> None:
    if labels.ndim != 1 or labels.dtype.kind not in "ui" or len(labels) == 0:
        raise InputError(
            f"the labels are {labels.dtype} {labels.shape}; give one whole number per item"
        )
    if probabilities.shape != (len(labels), len(classes)) or probabilities.dtype.kind != "f":
        raise InputError(
            f"the probabilities are {probabilities.dtype} {probabilities.shape}, but "
            f"{len(labels)} labels of {len(classes)} classes need float "
            f"({len(labels)}, {len(classes)}); give probabilities of the same items"
        )
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= len(classes):
        raise InputError(
            f"the labels range from {lowest} to {highest}, but there are {len(classes)} classes; "
            "count labels from 0"
        )
