"""What a threshold does: ROC curve, precision by recall, and the probabilities of both classes."""

from typing import Any

import numpy as np

from fornada.formats.items import Array
from trainer.evaluation.binary import BinaryEvaluation, ThresholdCurves
from trainer.figures.canvas import (
    INK,
    MUTED,
    OTHER,
    PLAIN,
    RIGHT,
    declutter,
    drawable_names,
    new_figure,
    to_png,
    write_legend,
    write_title,
)

_BINS = 40
_TICKS = np.linspace(0, 1, 6)


def roc_figure(curves: ThresholdCurves, evaluation: BinaryEvaluation) -> bytes:
    """True against false positives over all thresholds, with the model's marked; PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, axes = _square("ROC curve", "false positive rate", "true positive rate (recall)")
    axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1)
    axes.plot(curves.false_positive_rate, curves.true_positive_rate, color=RIGHT, linewidth=1.8)
    if evaluation.recall is not None and evaluation.specificity is not None:
        _mark(axes, 1 - evaluation.specificity, evaluation.recall, evaluation.threshold)
    return to_png(figure)


def precision_recall_figure(curves: ThresholdCurves, evaluation: BinaryEvaluation) -> bytes:
    """Precision by recall over all thresholds, with the model's marked; PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, axes = _square("Precision and recall", "recall", "precision")
    # As a threshold moves, precision jumps: a straight line between two points would promise
    # what no threshold gives.
    axes.step(curves.recall, curves.precision, where="post", color=RIGHT, linewidth=1.8)
    chance = curves.precision[0]
    axes.axhline(chance, color=MUTED, linewidth=1, linestyle="--")
    if evaluation.recall is not None and evaluation.precision is not None:
        _mark(axes, evaluation.recall, evaluation.precision, evaluation.threshold)
    return to_png(figure)


def scores_figure(
    positive: Array,
    labels: Array,
    evaluation: BinaryEvaluation,
) -> bytes:
    """Histogram of the probability by true class, with the threshold; PNG.

    Args:
        positive: float [items], finite, the probability of the second class.
        labels: int [items], 0 or 1.
        evaluation: For the names and the threshold.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(width=11.2, height=2.9)
    axes = figure.add_axes((0.065, 0.17, 0.905, 0.68))
    names = drawable_names([evaluation.negative, evaluation.positive])
    for label, colour in ((0, OTHER), (1, RIGHT)):
        axes.hist(
            positive[labels == label],
            bins=_BINS,
            range=(0, 1),
            color=colour,
            alpha=0.8,
            rwidth=0.94,
            label=f"is {names[label]}",
        )
    axes.axvline(evaluation.threshold, color=INK, linewidth=1, linestyle=":")
    axes.set_xlim(0, 1)
    axes.set_xticks(_TICKS, [f"{share:.0%}" for share in _TICKS])
    axes.set_xlabel(f"probability of {names[1]}", fontsize=8.5, color=MUTED, **PLAIN)
    axes.set_ylabel("items", fontsize=8.5, color=MUTED)
    axes.yaxis.get_major_locator().set_params(integer=True)
    write_legend(axes, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    write_title(axes, "Probabilities by true class")
    declutter(axes)
    return to_png(figure)


def _square(title: str, across: str, up: str) -> tuple[Any, Any]:
    """A figure with axes from 0 to 1 both ways."""
    figure = new_figure(width=5.4, height=4.8)
    axes = figure.add_axes((0.12, 0.11, 0.84, 0.78))
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xticks(_TICKS)
    axes.set_yticks(_TICKS)
    axes.set_xlabel(across, fontsize=8.5, color=MUTED)
    axes.set_ylabel(up, fontsize=8.5, color=MUTED)
    write_title(axes, title)
    declutter(axes, grid="both")
    return figure, axes


def _mark(axes: Any, across: float, up: float, threshold: float) -> None:
    """The point of the model's own threshold."""
    axes.plot([across], [up], "o", color=INK, markersize=6)
    left, below = across > 0.6, up > 0.2  # noqa: PLR2004 - where there is room for the text
    axes.annotate(
        f"threshold {threshold:g}",
        (across, up),
        xytext=(-9 if left else 9, -13 if below else 9),
        textcoords="offset points",
        ha="right" if left else "left",
        fontsize=8.5,
        color=INK,
    )
