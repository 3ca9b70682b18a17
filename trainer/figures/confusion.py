"""The confusion matrix as a heat map."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.figures.canvas import (
    INK,
    MUTED,
    PLAIN,
    RIGHT,
    WRONG,
    drawable_names,
    new_figure,
    to_png,
)

#: The most classes with room for numbers in the cells, for names, and for horizontal names.
_MAX_COUNTED, _MAX_NAMED, _MAX_HORIZONTAL = 20, 60, 3
#: Smallest top of the red scale, so that a few mistakes in a thousand stay pale.
_MIN_SCALE = 0.1
#: Above this share of its scale a cell is too dark for dark numbers.
_DARK = 0.55


def confusion_figure(counts: NDArray[np.int64], classes: Sequence[str]) -> bytes:
    """True classes down, predicted ones across; PNG.

    Colours are shares of the true class: blue for right ones, from 0 to 1; red for wrong ones, from
    0 to the largest such share, or a tenth, so that rare confusions are visible.

    Args:
        counts: int [true class, predicted class].
        classes: Names of the classes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    count = len(classes)
    # Inches: 1.5 for names, the rest for cells.
    side = 1.5 + (float(np.clip(0.5 * count, 2, 5.2)) if count <= _MAX_COUNTED else 7.1)
    figure = new_figure(width=side + 0.9, height=side)
    axes = figure.add_axes((1.5 / (side + 0.9), 0.05, (side - 1.5) / (side + 0.9), 1 - 1.5 / side))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(count, dtype=bool)
    highest = max(float(shares[~diagonal].max(initial=0)), _MIN_SCALE)
    scales = ((diagonal, "right", RIGHT, 1.0), (~diagonal, "wrong", WRONG, highest))
    for place, (shown, label, colour, top) in enumerate(scales):
        image = axes.imshow(
            np.ma.masked_where(~shown, shares), cmap=_map(colour), vmin=0, vmax=top, aspect="equal"
        )
        _draw_scale(axes, image, place, label, top)
    if count <= _MAX_COUNTED:
        _draw_counts(axes, counts, np.where(diagonal, shares, shares / highest))
    _draw_names(axes, classes)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("true class", fontsize=9, color=MUTED)
    axes.set_xlabel("predicted class", fontsize=9, color=MUTED)
    axes.xaxis.set_label_position("top")
    return to_png(figure, cropped=True)


def _map(colour: str) -> Any:
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415 - with the figure

    return LinearSegmentedColormap.from_list(colour, ["#f7f8fa", colour])


def _draw_scale(matrix: Any, image: Any, place: int, label: str, top: float) -> None:
    side = matrix.get_position().width * matrix.figure.get_figwidth()
    axes = matrix.inset_axes((1 + 0.4 / side, 0.7 - 0.5 * place, 0.1 / side, 0.24))
    bar = matrix.figure.colorbar(image, cax=axes, ticks=[0, top])
    bar.ax.set_yticklabels(["0", f"{top:.0%}"], fontsize=8, color=MUTED)
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)
    axes.set_title(label, fontsize=8.5, color=MUTED, pad=6)


def _draw_counts(axes: Any, counts: NDArray[np.int64], depth: NDArray[np.float64]) -> None:
    size = float(np.clip(90 / len(counts), 5.5, 10))
    for (row, column), items in np.ndenumerate(counts):
        if items:
            colour = "white" if depth[row, column] > _DARK else INK
            axes.text(
                column, row, f"{items}", ha="center", va="center", fontsize=size, color=colour
            )


def _draw_names(axes: Any, classes: Sequence[str]) -> None:
    count = len(classes)
    axes.tick_params(length=0, labelcolor=MUTED, top=True, labeltop=True, bottom=False)
    axes.tick_params(labelbottom=False)
    if count > _MAX_NAMED:
        ticks = range(0, count, 10)
        names, size, angle = [f"#{number}" for number in ticks], 8.0, 0
    else:
        ticks, names = range(count), drawable_names(classes)
        size, angle = float(np.clip(260 / count, 5, 8.5)), 90 if count > _MAX_HORIZONTAL else 0
    axes.set_xticks(ticks, names, fontsize=size, rotation=angle, **PLAIN)
    axes.set_yticks(ticks, names, fontsize=size, **PLAIN)
    if count <= _MAX_NAMED:
        axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=0.8)
        axes.tick_params(which="minor", length=0)
