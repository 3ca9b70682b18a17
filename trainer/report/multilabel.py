"""What a report says of a model whose labels apply together."""

from collections.abc import Sequence

from fornada.formats.items import Array
from trainer.evaluation.multilabel import LabelsEvaluation, evaluate_labels
from trainer.evaluation.predictions import of_labels
from trainer.figures.labels import MAX_LABELS, label_counts_figure
from trainer.report.classification import class_section
from trainer.report.items import item_sections
from trainer.report.page import Section, Tile, percent, short


def multilabel_report(
    items: Array | None, targets: Array, outputs: Array, classes: Sequence[str], *, threshold: float
) -> tuple[list[Tile], list[Section]]:
    """The headline numbers of a model of labels, and the sections on its test items.

    Args:
        items: As in `ReportMaterial`.
        targets: 0 or 1 [items, classes].
        outputs: float [items, classes], a probability each.
        classes: Names of the labels.
        threshold: The least probability of a label that applies.

    Raises:
        InputError: They do not fit together.
        MissingExtraError: matplotlib or Pillow is not installed.
    """
    evaluation = evaluate_labels(outputs, targets, classes, threshold=threshold)
    predictions = of_labels(outputs, targets, classes, threshold=threshold)
    counts = label_counts_figure(evaluation.classes) if len(classes) <= MAX_LABELS else None
    labels = class_section(
        evaluation.classes,
        failed_count=evaluation.failed,
        counts=counts,
        threshold=threshold,
    )
    return _tiles(evaluation), [labels, *item_sections(items, predictions)]


def _tiles(evaluation: LabelsEvaluation) -> list[Tile]:
    micro = evaluation.micro
    known = [score for score in evaluation.classes if score.items]
    weakest = min(known, key=lambda score: score.f1 or 0.0, default=None)
    return [
        Tile(
            label="F1 over all labels",
            value=percent(micro.f1),
            detail=f"precision {percent(micro.precision)}, recall {percent(micro.recall)}",
        ),
        Tile(
            label="All labels right",
            value=percent(evaluation.exact_share),
            detail=f"{evaluation.exact:,} of {evaluation.items:,} items",
        ),
        Tile(
            label="Lowest F1",
            value=percent(weakest.f1 if weakest else None),
            detail=f"of {short(weakest.name)}" if weakest else "no label occurs",
        ),
    ]
