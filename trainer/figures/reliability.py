"""The reliability diagram: accuracy against confidence."""

from typing import Any

import numpy as np

from trainer.evaluation.calibration import BIN_COUNT, Calibration
from trainer.figures.canvas import (
    MUTED,
    OTHER,
    PLAIN,
    RIGHT,
    WRONG,
    declutter,
    new_figure,
    to_png,
    write_legend,
)

#: Width of a bar: that of its bin, less a gap.
_BAR = 0.92 / BIN_COUNT
_PALE = 0.3


def reliability_figure(calibration: Calibration, *, event: str | None = None) -> bytes:
    """Accuracy by confidence, and the number of items by confidence; PNG.

    Args:
        calibration: Of the predicted class, or of one class.
        event: The class, where it is of one.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(width=5.4, height=5.2)
    curve = figure.add_axes((0.13, 0.34, 0.83, 0.56))
    spread = figure.add_axes((0.13, 0.1, 0.83, 0.17), sharex=curve)
    happened, probability = "accuracy", "probability of the predicted class"
    gaps = ("overconfident", "underconfident")
    if event is not None:
        happened, probability = f"share of {event}", f"probability of {event}"
        gaps = ("probability too high", "probability too low")
    _draw_reliability(curve, calibration, happened, gaps)
    _draw_spread(spread, calibration, probability)
    curve.set_xlim(0, 1)
    spread.set_xticks(np.linspace(0, 1, 6), [f"{share:.0%}" for share in np.linspace(0, 1, 6)])
    curve.tick_params(labelbottom=False)
    return to_png(figure)


def _draw_reliability(
    axes: Any, calibration: Calibration, happened: str, kinds: tuple[str, str]
) -> None:
    filled = [b for b in calibration.bins if b.items]
    centres = [(b.lower + b.upper) / 2 for b in filled]
    both = [min(b.accuracy, b.confidence) for b in filled]
    gaps = [b.confidence - b.accuracy for b in filled]
    axes.bar(centres, both, _BAR, color=RIGHT, label=happened)
    for sign, colour, label in (
        (1, WRONG, kinds[0]),
        (-1, RIGHT, kinds[1]),
    ):
        heights = [max(sign * gap, 0) for gap in gaps]
        axes.bar(centres, heights, _BAR, bottom=both, color=colour, alpha=_PALE, label=label)
    axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1)
    axes.set_ylim(0, 1)
    axes.set_yticks(np.linspace(0, 1, 6), [f"{share:.0%}" for share in np.linspace(0, 1, 6)])
    axes.set_ylabel(happened, fontsize=8.5, color=MUTED, **PLAIN)
    write_legend(axes, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    declutter(axes)


def _draw_spread(axes: Any, calibration: Calibration, probability: str) -> None:
    centres = [(b.lower + b.upper) / 2 for b in calibration.bins]
    axes.bar(centres, [b.items for b in calibration.bins], _BAR, color=OTHER)
    axes.set_ylabel("items", fontsize=8.5, color=MUTED)
    axes.set_xlabel(probability, fontsize=8.5, color=MUTED, **PLAIN)
    axes.yaxis.get_major_locator().set_params(nbins=2, integer=True)
    declutter(axes)
