"""Probabilities of labels that apply together, measured against the true labels."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fornada.errors import InputError
from fornada.formats.items import Array
from trainer.evaluation.binary import check_shares
from trainer.evaluation.classification import ClassScore, class_scores
from trainer.evaluation.predictions import of_labels


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelsEvaluation:
    """Precision and recall by label, and over all labels of all items."""

    #: The least probability of a label that applies.
    threshold: float
    items: int
    #: Items that have all their labels right, and no other.
    exact: int
    #: Items without a result; none of their labels is recognised.
    failed: int
    classes: list[ClassScore]

    @property
    def exact_share(self) -> float:
        """Share of the items that have all their labels right, and no other."""
        return self.exact / self.items

    @property
    def micro(self) -> ClassScore:
        """All labels counted together."""
        return ClassScore(
            name="all labels",
            items=sum(score.items for score in self.classes),
            right=sum(score.right for score in self.classes),
            predicted=sum(score.predicted for score in self.classes),
        )

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the labels that occur, truly or predicted."""
        known = [score.f1 for score in self.classes if score.f1 is not None]
        return sum(known) / max(len(known), 1)

    def to_plain(self) -> dict[str, Any]:
        """The evaluation as JSON."""
        micro = self.micro
        return {
            "micro_precision": micro.precision,
            "micro_recall": micro.recall,
            "micro_f1": micro.f1,
            "macro_f1": self.macro_f1,
            "exact_share": self.exact_share,
            **dataclasses.asdict(self),
            "classes": [score.to_plain() for score in self.classes],
        }


def evaluate_labels(
    probabilities: Array, targets: Array, classes: Sequence[str], *, threshold: float
) -> LabelsEvaluation:
    """Compare probabilities with labels.

    Args:
        probabilities: float [items, classes]; a row with NaN has no result.
        targets: 0 or 1 [items, classes].
        classes: Names of the labels.
        threshold: The least probability of a label that applies.

    Raises:
        InputError: They do not fit together.
    """
    _check(probabilities, targets, classes)
    found = of_labels(probabilities, targets, classes, threshold=threshold)
    predicted = found.predicted & found.present[:, None]
    counts = [each.sum(axis=0) for each in (found.true, found.true & predicted, predicted)]
    return LabelsEvaluation(
        threshold=threshold,
        items=len(targets),
        exact=int(found.right.sum()),
        failed=int((~found.present).sum()),
        classes=class_scores(classes, counts),
    )


def _check(probabilities: Array, targets: Array, classes: Sequence[str]) -> None:
    wanted = (len(targets), len(classes))
    if len(targets) == 0 or targets.shape != wanted or not np.isin(targets, (0, 1)).all():
        raise InputError(
            f"the labels are {targets.dtype} {targets.shape}; give 0 or 1 for each of "
            f"{len(classes)} labels per item"
        )
    if probabilities.shape != wanted or probabilities.dtype.kind != "f":
        raise InputError(
            f"the probabilities are {probabilities.dtype} {probabilities.shape}, but "
            f"{len(targets)} items of {len(classes)} labels need float {wanted}; give "
            "probabilities of the same items"
        )
    check_shares(probabilities)
