"""Sixteen images with the probabilities of their classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from trainer.data.images import dark_on_light
from trainer.evaluation.classification import likeliest_classes, predicted_right
from trainer.figures.canvas import (
    INK,
    MUTED,
    OTHER,
    PLAIN,
    RIGHT,
    RULE,
    WRONG,
    drawable_names,
    new_figure,
    to_png,
)

_GRID_SIDE = 4
_WRONG_SHOWN = 4
_BARS = 10
# Inches. Laid out by hand: automatic layouts let titles overlap the names of the bars.
_GRID_WIDTH, _GRID_HEIGHT, _MARGIN, _HEAD, _FOOT = 14.2, 9.2, 0.25, 0.35, 0.45
_IMAGE_SIDE, _NAMES_WIDTH, _CELL_GAP = 1.62, 0.82, 0.22


def prediction_grid(
    images: Array,
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    classes: Sequence[str],
) -> bytes:
    """Sixteen items with the probabilities of their classes, right in blue and wrong in red; PNG.

    Up to four of them were predicted wrong, the others right, both spread evenly over the data and
    in its order. So errors are visible if there are any, and over-represented: the headline has the
    accuracy over all items.

    Args:
        images: uint8 [items, height, width] or [items, height, width, 1 or 3].
        labels: int [items], the true class.
        probabilities: float [items, classes].
        classes: Names of the classes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    right = predicted_right(probabilities, labels)
    chosen = items_to_show(right)
    predicted, names = likeliest_classes(probabilities), drawable_names(classes)
    figure = new_figure(width=_GRID_WIDTH, height=_GRID_HEIGHT)
    for position, (item, image) in enumerate(
        zip(chosen, dark_on_light(images, chosen), strict=True)
    ):
        row, label = probabilities[item], int(labels[item])
        image_axes, bar_axes = _cell(figure, *divmod(position, _GRID_SIDE))
        _draw_image(image_axes, image)
        _draw_bars(bar_axes, row, label=label, predicted=int(predicted[item]), names=names)
        colour = RIGHT if right[item] else WRONG
        title = _title(row, label=label, predicted=int(predicted[item]), names=names)
        image_axes.set_title(title, loc="left", fontsize=10.5, color=colour, pad=5, **PLAIN)
    _draw_headline(figure, right, len(chosen), int((~right[chosen]).sum()))
    return to_png(figure)


def items_to_show(right: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Positions of the up to sixteen items in `prediction_grid`.

    Args:
        right: Whether each item was predicted right: bool [items].
    """
    wrong_items, right_items = np.flatnonzero(~right), np.flatnonzero(right)
    count = _GRID_SIDE * _GRID_SIDE
    wrong_count = min(len(wrong_items), max(_WRONG_SHOWN, count - len(right_items)))
    return np.sort(
        np.concatenate(
            [_evenly(wrong_items, wrong_count), _evenly(right_items, count - wrong_count)]
        )
    )


def _evenly(items: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    count = min(count, len(items))
    # The middles of `count` equal stretches: data sets are often sorted by class.
    return items[((np.arange(count) + 0.5) * len(items) / max(count, 1)).astype(np.intp)]


def _cell(figure: Any, row: int, column: int) -> tuple[Any, Any]:
    """Axes for an item's image and, right of it, its bars."""
    cell_width = (_GRID_WIDTH - 2 * _MARGIN) / _GRID_SIDE
    cell_height = (_GRID_HEIGHT - _HEAD - _FOOT) / _GRID_SIDE
    left = _MARGIN + column * cell_width
    bottom = _FOOT + (_GRID_SIDE - 1 - row) * cell_height
    bars_offset = _IMAGE_SIDE + _NAMES_WIDTH

    def axes(x: float, width: float) -> Any:
        return figure.add_axes(
            (
                x / _GRID_WIDTH,
                bottom / _GRID_HEIGHT,
                width / _GRID_WIDTH,
                _IMAGE_SIDE / _GRID_HEIGHT,
            )
        )

    bars_width = cell_width - bars_offset - _CELL_GAP
    return axes(left, _IMAGE_SIDE), axes(left + bars_offset, bars_width)


def _draw_image(axes: Any, image: NDArray[np.uint8]) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(RULE)


def _draw_bars(
    axes: Any,
    probabilities: NDArray[np.floating[Any]],
    *,
    label: int,
    predicted: int,
    names: Sequence[str],
) -> None:
    lengths = np.nan_to_num(probabilities)
    # In class order; only the likeliest classes if there are many.
    shown = np.sort(np.argsort(-lengths, kind="stable")[:_BARS])
    colours = [RIGHT if c == label else WRONG if c == predicted else OTHER for c in shown]
    axes.barh(range(len(shown)), lengths[shown], color=colours, height=0.72)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xticks([])
    axes.set_yticks(range(len(shown)), [names[c] for c in shown], **PLAIN)
    axes.tick_params(colors=MUTED, labelsize=7.5, length=0, pad=3)
    axes.spines[["top", "bottom", "right"]].set_visible(False)
    axes.spines["left"].set_color(OTHER)


def _title(
    probabilities: NDArray[np.floating[Any]], *, label: int, predicted: int, names: Sequence[str]
) -> str:
    if predicted < 0:
        return f"no result ({names[label]})"
    return f"{names[predicted]} {probabilities[predicted]:.0%} ({names[label]})"


def _draw_headline(figure: Any, right: NDArray[np.bool_], shown: int, shown_wrong: int) -> None:
    left = _MARGIN / _GRID_WIDTH
    figure.text(
        left,
        1 - 0.16 / _GRID_HEIGHT,
        f"{right.mean():.1%} of {len(right):,} items predicted right",
        va="top",
        fontsize=16,
        fontweight="bold",
        color=INK,
    )
    figure.text(
        left,
        0.12 / _GRID_HEIGHT,
        "predicted class, its probability (true class)   ·   blue bar: the true class, red bar: a "
        f"wrong prediction   ·   {shown_wrong} of the {shown} were picked because they are wrong",
        fontsize=9.5,
        color=MUTED,
    )
