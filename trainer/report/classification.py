"""What a report says of a classifier: confusions, per-class results, and calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from trainer.evaluation.calibration import Calibration, calibrate
from trainer.evaluation.classification import ClassScore, Evaluation, evaluate
from trainer.evaluation.predictions import Predictions, confusion_matrix, of_one_class
from trainer.figures.canvas import drawable_names
from trainer.figures.confusion import confusion_figure
from trainer.figures.reliability import reliability_figure
from trainer.report.items import item_sections
from trainer.report.page import Section, Tile, percent, short

#: Beyond this, the cells of the heat map are smaller than a pixel.
_MAX_MAPPED_CLASSES = 400
_MAX_PAIRS = 10
#: Rows visible at once, and rows in total; the JSON of `fornada evaluate` has every class.
_VISIBLE_ROWS, _MAX_ROWS = 12, 250
#: Below this difference, confidence matches accuracy.
_SMALL_GAP = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class _ConfusedPair:
    """Items of one class that were taken for another."""

    true: str
    predicted: str
    items: int
    #: Of the items of the true class.
    share: float


def classification_report(
    items: Array | None, targets: Array, outputs: Array, classes: Sequence[str]
) -> tuple[list[Tile], list[Section]]:
    """The headline numbers of a classifier, and the sections on its test items.

    Args:
        items: As in `ReportMaterial`.
        targets: int [items], positions in `classes`.
        outputs: float [items, classes]. If they are not probabilities, their softmax is shown.
        classes: Names of the classes.

    Raises:
        InputError: They do not fit together.
        MissingExtraError: matplotlib or Pillow is not installed.
    """
    evaluation = evaluate(outputs, targets, classes)
    labels = targets.astype(np.int64)
    probabilities, is_softmax = _as_probabilities(outputs)
    calibration = calibrate(probabilities, labels)
    predictions = of_one_class(probabilities, labels, classes)
    sections = [
        confusion_section(predictions),
        class_section(evaluation.classes, failed_count=evaluation.failed),
        calibration_section(calibration, is_softmax=is_softmax),
        *item_sections(items, predictions),
    ]
    return _tiles(evaluation, calibration), sections


def _as_probabilities(outputs: Array) -> tuple[NDArray[np.float64], bool]:
    """Outputs as probabilities: float64 [items, classes]; and whether they are a softmax of them.

    A model without a last softmax outputs the logits that its loss takes.
    """
    values = outputs.astype(np.float64)
    present = values[~np.isnan(values).any(axis=1)]
    if (present >= 0).all() and np.allclose(present.sum(axis=1), 1, atol=1e-3):
        return values, False
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True), True


def _tiles(evaluation: Evaluation, calibration: Calibration) -> list[Tile]:
    wrong = evaluation.items - evaluation.right
    known = [score for score in evaluation.classes if score.recall is not None]
    weakest = min(known, key=lambda score: score.recall or 0.0)
    return [
        Tile(
            label="Test accuracy",
            value=percent(evaluation.accuracy),
            detail=f"{wrong:,} of {evaluation.items:,} wrong",
        ),
        Tile(
            label="Lowest recall", value=percent(weakest.recall), detail=f"of {short(weakest.name)}"
        ),
        Tile(
            label="Calibration error",
            value=percent(calibration.error),
            detail=_confidence(calibration),
        ),
    ]


def _confidence(calibration: Calibration) -> str:
    gap = calibration.confidence - calibration.accuracy
    if abs(gap) < _SMALL_GAP:
        return "well calibrated"
    return "overconfident" if gap > 0 else "underconfident"


def confusion_section(predictions: Predictions) -> Section:
    """Which classes are taken for which others."""
    classes = predictions.classes
    matrix = None
    if len(classes) <= _MAX_MAPPED_CLASSES:
        matrix = confusion_figure(confusion_matrix(predictions), classes)
    return Section(
        anchor="confusion",
        title="Confusion",
        values={
            "pairs": _confused_pairs(predictions),
            "matrix": matrix,
            "class_count": len(classes),
        },
        figures={"confusion-matrix.png": matrix} if matrix else {},
    )


def _confused_pairs(predictions: Predictions) -> list[_ConfusedPair]:
    """The pairs confused most often; takes no memory for the others."""
    labels, classes = predictions.true, predictions.classes
    wrong = ~predictions.right & predictions.present
    both = np.stack([labels[wrong], predictions.predicted[wrong]], axis=1)
    pairs, counts = np.unique(both, axis=0, return_counts=True)
    items_of = np.bincount(labels, minlength=len(classes))
    shares = counts / items_of[pairs[:, 0]]
    order = np.lexsort((-shares, -counts))[:_MAX_PAIRS]
    return [
        _ConfusedPair(
            true=classes[pairs[place, 0]],
            predicted=classes[pairs[place, 1]],
            items=int(counts[place]),
            share=float(shares[place]),
        )
        for place in order
    ]


def class_section(
    scores: Sequence[ClassScore],
    *,
    failed_count: int,
    counts: bytes | None = None,
    threshold: float | None = None,
) -> Section:
    """Recall and precision by class, the weakest first."""
    # A class without test items is neither weak nor strong.
    worst_first = sorted(
        enumerate(scores),
        key=lambda entry: (entry[1].recall is None, entry[1].f1 or 0.0),
    )
    return Section(
        anchor="classes",
        title="Results by class" if threshold is None else "Results by label",
        values={
            "weakest": worst_first[:_VISIBLE_ROWS],
            "others": worst_first[_VISIBLE_ROWS:_MAX_ROWS],
            "hidden_count": len(worst_first[_MAX_ROWS:]),
            "failed_count": failed_count,
            "counts": counts,
            "threshold": threshold,
        },
        figures={"labels.png": counts} if counts else {},
    )


def calibration_section(
    calibration: Calibration, *, is_softmax: bool = False, event: str | None = None
) -> Section:
    """How far probabilities can be believed, of the predicted class or of one class."""
    # The second of two classes, `#1` where it cannot be drawn.
    drawn = drawable_names(["", event])[1] if event is not None else None
    diagram = reliability_figure(calibration, event=drawn)
    return Section(
        anchor="calibration",
        title="Calibration",
        values={
            "calibration": calibration,
            "diagram": diagram,
            "is_softmax": is_softmax,
            "event": event,
        },
        figures={"calibration.png": diagram},
    )
