"""What a report says of a binary model: its threshold, the others, and calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fornada.formats.items import Array
from trainer.evaluation.binary import BinaryEvaluation, evaluate_binary, threshold_curves
from trainer.evaluation.calibration import calibrate_event
from trainer.evaluation.predictions import of_two_classes
from trainer.figures.thresholds import precision_recall_figure, roc_figure, scores_figure
from trainer.report.classification import calibration_section, confusion_section
from trainer.report.items import item_sections
from trainer.report.page import Section, Tile, percent, short

#: Rows of the table, besides the model's own threshold.
_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, kw_only=True, slots=True)
class _ThresholdRow:
    evaluation: BinaryEvaluation
    is_own: bool


def binary_report(
    items: Array | None, targets: Array, outputs: Array, classes: Sequence[str], *, threshold: float
) -> tuple[list[Tile], list[Section]]:
    """The headline numbers of a binary model, and the sections on its test items.

    Args:
        items: As in `ReportMaterial`.
        targets: int [items], 0 or 1.
        outputs: float [items, 1], the probability of the second class.
        classes: Names of both classes.
        threshold: The least probability of the second class.

    Raises:
        InputError: They do not fit together.
        MissingExtraError: matplotlib, Pillow or scikit-learn is not installed.
    """
    evaluation = evaluate_binary(outputs, targets, classes, threshold=threshold)
    predictions = of_two_classes(outputs, targets, classes, threshold=threshold)
    present = predictions.present
    positive = outputs[present, 0].astype(np.float64)
    calibration = calibrate_event(positive, targets[present] == 1)
    sections = [
        confusion_section(predictions),
        _threshold_section(outputs, targets, evaluation),
        calibration_section(calibration, event=classes[1]),
        *item_sections(items, predictions),
    ]
    return _tiles(evaluation), sections


def _tiles(evaluation: BinaryEvaluation) -> list[Tile]:
    wrong = evaluation.items - evaluation.right
    precision, recall = percent(evaluation.precision), percent(evaluation.recall)
    area = evaluation.roc_auc
    return [
        Tile(
            label="Test accuracy",
            value=percent(evaluation.accuracy),
            detail=f"{wrong:,} of {evaluation.items:,} wrong",
        ),
        Tile(
            label=f"F1 of {short(evaluation.positive)}",
            value=percent(evaluation.f1),
            detail=f"precision {precision}, recall {recall}",
        ),
        Tile(
            label="Area under ROC",
            value=percent(None) if area is None else f"{area:.3f}",
            detail=f"Brier score {evaluation.brier_score:.3f}",
        ),
    ]


def _threshold_section(outputs: Array, targets: Array, evaluation: BinaryEvaluation) -> Section:
    own = evaluation.threshold
    classes = (evaluation.negative, evaluation.positive)
    rows = [
        _ThresholdRow(
            evaluation=evaluate_binary(outputs, targets, classes, threshold=threshold),
            is_own=threshold == own,
        )
        for threshold in sorted({*_THRESHOLDS, own})
    ]
    present = np.isfinite(outputs[:, 0])
    figures = {
        "probabilities.png": scores_figure(outputs[present, 0], targets[present], evaluation)
    }
    curves = threshold_curves(outputs, targets)
    if curves is not None:
        figures["roc-curve.png"] = roc_figure(curves, evaluation)
        figures["precision-recall.png"] = precision_recall_figure(curves, evaluation)
    best = max(rows, key=lambda row: row.evaluation.f1 or 0).evaluation
    return Section(
        anchor="threshold",
        title="Threshold",
        values={
            "evaluation": evaluation,
            "rows": rows,
            "best": best,
            "scores": figures["probabilities.png"],
            "roc": figures.get("roc-curve.png"),
            "precision_recall": figures.get("precision-recall.png"),
        },
        figures=figures,
    )
