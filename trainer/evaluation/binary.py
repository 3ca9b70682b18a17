"""The one probability of a binary model measured against the true class of two."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError, MissingExtraError
from fornada.formats.items import Array


@dataclass(frozen=True, kw_only=True, slots=True)
class BinaryEvaluation:
    """How well one probability tells two classes apart; the second is the positive one."""

    negative: str
    positive: str
    #: The least probability of a positive prediction.
    threshold: float
    items: int
    #: Items without a result; they count as wrong, and nowhere else.
    failed: int
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    #: Area under the ROC curve, and under that of precision by recall; `None` if only one of the
    #: classes occurs.
    roc_auc: float | None
    average_precision: float | None
    #: Mean squared difference of the probability and the truth; 0 is best.
    brier_score: float

    @property
    def right(self) -> int:
        """Items predicted right."""
        return self.true_positives + self.true_negatives

    @property
    def accuracy(self) -> float:
        """Share of all items predicted right."""
        return self.right / self.items

    @property
    def precision(self) -> float | None:
        """Share of the positive predictions that are right; `None` if there are none."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float | None:
        """Share of the positive items predicted so; `None` if there are none."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def specificity(self) -> float | None:
        """Share of the negative items predicted so; `None` if there are none."""
        return _share(self.true_negatives, self.true_negatives + self.false_positives)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; `None` if nothing is positive."""
        wrong = self.false_positives + self.false_negatives
        return _share(2 * self.true_positives, 2 * self.true_positives + wrong)

    def to_plain(self) -> dict[str, Any]:
        """The evaluation as JSON."""
        rates = ("accuracy", "precision", "recall", "specificity", "f1")
        return {name: getattr(self, name) for name in rates} | dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdCurves:
    """What each threshold would give; float64, one value per threshold."""

    #: Share of the negative items that are predicted positive, and of the positive ones.
    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def evaluate_binary(
    outputs: Array, labels: Array, classes: Sequence[str], *, threshold: float
) -> BinaryEvaluation:
    """Compare probabilities with labels.

    Args:
        outputs: float [items, 1], the probability of the second class; NaN where there is none.
        labels: int [items], 0 or 1.
        classes: Names of both classes.
        threshold: The least probability of a positive prediction.

    Raises:
        InputError: They do not fit together, or no item has a result.
        MissingExtraError: scikit-learn is not installed.
    """
    positive, present = _present(outputs, labels)
    truth = labels[present] == 1
    predicted = positive >= threshold
    both = bool(truth.any() and not truth.all())
    metrics = _metrics()
    return BinaryEvaluation(
        negative=classes[0],
        positive=classes[1],
        threshold=threshold,
        items=len(labels),
        failed=int((~present).sum()),
        true_positives=int((predicted & truth).sum()),
        false_positives=int((predicted & ~truth).sum()),
        true_negatives=int((~predicted & ~truth).sum()),
        false_negatives=int((~predicted & truth).sum()),
        roc_auc=float(metrics.roc_auc_score(truth, positive)) if both else None,
        average_precision=float(metrics.average_precision_score(truth, positive)) if both else None,
        brier_score=float(np.square(positive - truth).mean()),
    )


def threshold_curves(outputs: Array, labels: Array) -> ThresholdCurves | None:
    """The curves over all thresholds; `None` if only one of the classes occurs.

    Raises:
        InputError, MissingExtraError: As `evaluate_binary`.
    """
    positive, present = _present(outputs, labels)
    truth = labels[present] == 1
    if truth.all() or not truth.any():
        return None
    metrics = _metrics()
    false_positive_rate, true_positive_rate, _ = metrics.roc_curve(truth, positive)
    precision, recall, _ = metrics.precision_recall_curve(truth, positive)
    return ThresholdCurves(
        false_positive_rate=false_positive_rate,
        true_positive_rate=true_positive_rate,
        precision=precision,
        recall=recall,
    )


def are_shares(outputs: Array) -> bool:
    """Whether outputs are probabilities, each one a number from 0 to 1; NaN is none."""
    return float(np.nanmin(outputs, initial=0)) >= 0 and float(np.nanmax(outputs, initial=0)) <= 1


def check_shares(outputs: Array) -> None:
    """Check that outputs are probabilities, each one a number from 0 to 1; NaN is none.

    Raises:
        InputError: One is below 0 or above 1.
    """
    if not are_shares(outputs):
        lowest, highest = np.nanmin(outputs), np.nanmax(outputs)
        raise InputError(
            f"the outputs range from {lowest:g} to {highest:g} and are not probabilities; end the "
            "model in a sigmoid"
        )


def _present(outputs: Array, labels: Array) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The probabilities of the items that have one, float64 [present]; and which these are."""
    if labels.ndim != 1 or len(labels) == 0 or not np.isin(labels, (0, 1)).all():
        raise InputError(
            f"the labels are {labels.dtype} {labels.shape} up to {labels.max(initial=0)}; give 0 "
            "or 1 per item"
        )
    if outputs.shape != (len(labels), 1) or outputs.dtype.kind != "f":
        raise InputError(
            f"the probabilities are {outputs.dtype} {outputs.shape}, but {len(labels)} labels of "
            f"two classes need float ({len(labels)}, 1); give probabilities of the same items"
        )
    check_shares(outputs)
    present: NDArray[np.bool_] = np.isfinite(outputs[:, 0])
    if not present.any():
        raise InputError(f"none of the {len(labels)} items has a result; see the errors of the job")
    return outputs[present, 0].astype(np.float64), present


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _metrics() -> Any:
    try:
        from sklearn import metrics  # noqa: PLC0415 - takes a second, an extra
    except ImportError as exc:
        raise MissingExtraError(
            "curves over thresholds need scikit-learn; run: pip install 'fornada[train]'"
        ) from exc
    return metrics
