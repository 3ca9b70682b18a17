"""How often each label is true, predicted, and both."""

from collections.abc import Sequence

import numpy as np

from trainer.evaluation.classification import ClassScore
from trainer.figures.canvas import (
    MUTED,
    OTHER,
    PLAIN,
    RIGHT,
    WRONG,
    declutter,
    drawable_names,
    new_figure,
    to_png,
    write_legend,
)

#: The most labels with room for names.
MAX_LABELS = 40


def label_counts_figure(scores: Sequence[ClassScore]) -> bytes:
    """For each label: recognised and missed items up, wrongly labelled ones beyond; PNG.

    Args:
        scores: Of up to 40 labels, in their order.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    height = 1.0 + 0.26 * len(scores)
    figure = new_figure(width=8.4, height=height)
    axes = figure.add_axes((0.2, 0.45 / height, 0.77, (height - 0.9) / height))
    rows = np.arange(len(scores))
    right = np.array([score.right for score in scores])
    missed = np.array([score.items - score.right for score in scores])
    wrong = np.array([score.predicted - score.right for score in scores])
    axes.barh(rows, right, 0.66, color=RIGHT, label="recognised")
    axes.barh(rows, missed, 0.66, left=right, color=OTHER, label="missed")
    axes.barh(rows, wrong, 0.66, left=right + missed, color=WRONG, label="wrongly labelled")
    axes.set_yticks(rows, drawable_names([score.name for score in scores]), **PLAIN)
    axes.set_ylim(len(scores) - 0.4, -0.6)
    axes.set_xlabel("items", fontsize=8.5, color=MUTED)
    axes.xaxis.get_major_locator().set_params(integer=True)
    write_legend(axes, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderpad=0.2)
    declutter(axes, grid="x")
    return to_png(figure)
