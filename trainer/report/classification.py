"""What a report says of a classifier: what it confuses, which classes it knows, how sure it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from trainer.data.pictures import are_pictures
from trainer.evaluation.calibration import Calibration, calibrate
from trainer.evaluation.classification import (
    ClassScore,
    Evaluation,
    confusion_matrix,
    evaluate,
    likeliest_classes,
)
from trainer.figures.confusion import confusion_figure
from trainer.figures.reliability import reliability_figure
from trainer.report.items import ClassifiedItems, items_section, mistakes_section
from trainer.report.markup import NOTHING, Content, meter, percent, short, table, tag
from trainer.report.page import Section, Tile, drawing

#: The heat map of more classes has cells smaller than a pixel.
_MOST_MAPPED = 400
_PAIRS = 10
#: Rows that are seen at once, and rows at all; the JSON of `fornada evaluate` has every class.
_ROWS, _MOST_ROWS = 12, 250
#: Below this, confidence and accuracy are as good as equal.
_SMALL_GAP = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pair:
    """Items of one class that were taken for another."""

    true: str
    predicted: str
    items: int
    #: Of the items of the true class.
    share: float


def classification_report(
    items: Array, targets: Array, outputs: Array, classes: Sequence[str]
) -> tuple[list[Tile], list[Section]]:
    """What is seen first of a classifier, and the sections on its test items.

    Args:
        items: As in `ReportMaterial`.
        targets: int [items], positions in `classes`.
        outputs: float [items, classes]. Where they are no probabilities, their softmax is shown.
        classes: Names of the classes.

    Raises:
        InputError: They do not fit together.
        MissingExtraError: matplotlib or Pillow is not installed.
    """
    evaluation = evaluate(outputs, targets, classes)
    labels = targets.astype(np.int64)
    probabilities, are_given = as_probabilities(outputs)
    calibration = calibrate(probabilities, labels)
    tested = ClassifiedItems(
        items=items, labels=labels, probabilities=probabilities, classes=classes
    )
    pictures = [items_section(tested)] if are_pictures(items) else []
    sections = [
        _confusion_section(probabilities, labels, classes),
        _class_section(evaluation),
        _calibration_section(calibration, are_given=are_given),
        *pictures,
        mistakes_section(tested),
    ]
    return _tiles(evaluation, calibration), sections


def as_probabilities(outputs: Array) -> tuple[NDArray[np.float64], bool]:
    """Outputs as probabilities: float64 [items, classes]; and whether they were that already.

    The outputs of a model without a last softmax are the logits that its loss takes.
    """
    values = outputs.astype(np.float64)
    there = values[~np.isnan(values).any(axis=1)]
    if (there >= 0).all() and np.allclose(there.sum(axis=1), 1, atol=1e-3):
        return values, True
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True), False


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
        return "about as sure as right"
    return "surer than right" if gap > 0 else "less sure than right"


def _confusion_section(
    probabilities: Array, labels: NDArray[np.integer[Any]], classes: Sequence[str]
) -> Section:
    pairs = _confused_pairs(probabilities, labels, classes)
    parts: list[Content] = []
    figures = {}
    if len(classes) <= _MOST_MAPPED:
        counts = confusion_matrix(probabilities, labels, classes)
        png = confusion_figure(counts, classes)
        figures["confusion-matrix.png"] = png
        alt = f"Confusion matrix of {len(classes)} classes; the table lists what is confused most."
        parts.append(drawing(png, alt=alt))
    if pairs:
        rows = [
            (short(pair.true), short(pair.predicted), f"{pair.items:,}", percent(pair.share))
            for pair in pairs
        ]
        numbers = ("Items", "Of its class")
        headings = ("True class", "Taken for", *numbers)
        parts.append(table(headings, rows, label="Classes confused most often", numbers=numbers))
    return Section(
        anchor="confusion",
        title="What it confuses",
        lead=_confusion_lead(pairs),
        body=[tag("div", *parts, class_="beside wide")],
        figures=figures,
    )


def _confusion_lead(pairs: Sequence[_Pair]) -> str:
    if not pairs:
        return "Every test item that has a result was predicted right."
    first = pairs[0]
    return (
        f"Most often, {short(first.true)} is taken for {short(first.predicted)}: {first.items:,} "
        f"times, {percent(first.share)} of its items. Rows are the true classes; blue is right, "
        "red is wrong."
    )


def _confused_pairs(
    probabilities: Array, labels: NDArray[np.integer[Any]], classes: Sequence[str]
) -> list[_Pair]:
    """The pairs confused most often, without a matrix of all pairs."""
    likeliest = likeliest_classes(probabilities)
    wrong = (likeliest != labels) & (likeliest >= 0)
    both = np.stack([labels[wrong].astype(np.intp), likeliest[wrong]], axis=1)
    pairs, counts = np.unique(both, axis=0, return_counts=True)
    items_of = np.bincount(labels.astype(np.intp), minlength=len(classes))
    shares = counts / items_of[pairs[:, 0]]
    order = np.lexsort((-shares, -counts))[:_PAIRS]
    return [
        _Pair(
            true=classes[pairs[place, 0]],
            predicted=classes[pairs[place, 1]],
            items=int(counts[place]),
            share=float(shares[place]),
        )
        for place in order
    ]


def _class_section(evaluation: Evaluation) -> Section:
    # Classes that the test items have none of are neither weak nor strong.
    worst_first = sorted(
        enumerate(evaluation.classes),
        key=lambda entry: (entry[1].recall is None, entry[1].f1 or 0.0),
    )
    shown, rest = worst_first[:_ROWS], worst_first[_ROWS:_MOST_ROWS]
    body = [_class_table(shown)]
    if rest:
        summary = tag("summary", f"The other {len(rest)} classes")
        body.append(tag("details", summary, _class_table(rest)))
    hidden = len(worst_first) - len(shown) - len(rest)
    more = f" The {hidden:,} best are left out." if hidden else ""
    failed = f" {evaluation.failed:,} items have no result." if evaluation.failed else ""
    return Section(
        anchor="classes",
        title="Class by class",
        lead=(
            "The weakest first. Recall is the share of a class's items that were recognised; "
            "precision the share of those given its name that are of it; F1 the harmonic mean of "
            f"both.{more}{failed}"
        ),
        body=body,
    )


def _class_table(scores: Sequence[tuple[int, ClassScore]]) -> Element:
    rows = [
        (
            tag("span", tag("small", f"#{position}"), f" {short(score.name)}"),
            f"{score.items:,}",
            meter(score.recall),
            meter(score.precision),
            NOTHING if score.f1 is None else f"{score.f1:.3f}",
        )
        for position, score in scores
    ]
    headings = ("Class", "Items", "Recall", "Precision", "F1")
    return table(headings, rows, label="Recall and precision by class", numbers=("Items", "F1"))


def _calibration_section(calibration: Calibration, *, are_given: bool) -> Section:
    png = reliability_figure(calibration)
    sure = (
        f"The class that it predicts has a probability of {percent(calibration.confidence)} on "
        f"average, and is right for {percent(calibration.accuracy)} of the items"
    )
    softmax = "" if are_given else " Its outputs are no probabilities; shown is their softmax."
    explained = tag(
        "div",
        tag("p", tag("strong", percent(calibration.error)), " expected calibration error"),
        tag(
            "p",
            "Items are sorted into 15 bins by the probability of their predicted class. In each, "
            "that probability is compared with how often the class is right; the error is the mean "
            "distance, weighted by items. A perfectly calibrated model has its bars on the dashed "
            "line.",
        ),
        tag(
            "p",
            "Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017.",
            class_="source",
        ),
        class_="note",
    )
    alt = f"Reliability diagram; the expected calibration error is {percent(calibration.error)}."
    return Section(
        anchor="calibration",
        title="How far its probabilities hold",
        lead=f"{sure}.{softmax}",
        body=[tag("div", drawing(png, alt=alt), explained, class_="beside")],
        figures={"calibration.png": png},
    )
