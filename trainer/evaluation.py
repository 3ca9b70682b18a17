"""How good probabilities are, measured against the true labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.arrays import Array
from fornada.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassRecall:
    """How many items of one class were recognised."""

    name: str
    items: int
    right: int

    @property
    def recall(self) -> float | None:
        """Share of the class's items that were predicted right; `None` if there are none."""
        return self.right / self.items if self.items else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Accuracy over all items, and recall by class."""

    items: int
    right: int
    #: Items without a result (a NaN in their row); they count as wrong.
    failed: int
    classes: list[ClassRecall]

    @property
    def accuracy(self) -> float:
        """Share of all items that were predicted right."""
        return self.right / self.items

    def to_plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "accuracy": self.accuracy,
            "items": self.items,
            "right": self.right,
            "failed": self.failed,
            "classes": [
                {"name": c.name, "items": c.items, "right": c.right, "recall": c.recall}
                for c in self.classes
            ],
        }


def predicted_right(probabilities: Array, labels: Array) -> NDArray[np.bool_]:
    """Whether the likeliest class of each item is its label: bool [items]; never where NaN is.

    Args:
        probabilities: float [items, classes].
        labels: int [items].
    """
    likeliest = np.argmax(np.nan_to_num(probabilities, nan=-1.0), axis=1)
    right: NDArray[np.bool_] = (likeliest == labels) & ~np.isnan(probabilities).any(axis=1)
    return right


def evaluate(probabilities: Array, labels: Array, classes: list[str]) -> Evaluation:
    """Compare probabilities with labels.

    Args:
        probabilities: float [items, classes]; a row with NaN has no result.
        labels: int [items], positions in `classes`.
        classes: Names of the classes.

    Raises:
        InputError: They do not fit together.
    """
    _check(probabilities, labels, classes)
    right = predicted_right(probabilities, labels)
    return Evaluation(
        items=len(labels),
        right=int(right.sum()),
        failed=int(np.isnan(probabilities).any(axis=1).sum()),
        classes=[
            ClassRecall(
                name=name,
                items=int((labels == position).sum()),
                right=int(right[labels == position].sum()),
            )
            for position, name in enumerate(classes)
        ],
    )


def _check(probabilities: Array, labels: Array, classes: list[str]) -> None:
    if labels.ndim != 1 or labels.dtype.kind not in "ui" or len(labels) == 0:
        raise InputError(
            f"the labels are {labels.dtype} {labels.shape}; give one whole number an item"
        )
    if probabilities.shape != (len(labels), len(classes)) or probabilities.dtype.kind != "f":
        raise InputError(
            f"the probabilities are {probabilities.dtype} {probabilities.shape}, and "
            f"{len(labels)} labels of {len(classes)} classes need float "
            f"({len(labels)}, {len(classes)}); give those of the same items"
        )
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= len(classes):
        raise InputError(
            f"the labels go from {lowest} to {highest}, and there are {len(classes)} classes; "
            "labels count from 0"
        )
