"""Sixteen images with the probabilities of their classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from trainer.data.images import dark_on_light
from trainer.evaluation.predictions import Predictions
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
    shortened,
    to_png,
)

_GRID_SIDE = 4
_WRONG_SHOWN = 4
_BARS, _FEWEST_ROWS = 10, 5
_MAX_TITLE_LENGTH = 44
_MOST_PIXELS = 96
# Inches. Laid out by hand: automatic layouts let titles overlap the names of the bars.
_GRID_WIDTH, _GRID_HEIGHT, _MARGIN, _HEAD, _FOOT = 14.2, 9.2, 0.25, 0.35, 0.45
_IMAGE_SIDE, _NAMES_WIDTH, _CELL_GAP = 1.62, 0.82, 0.22


def prediction_grid(images: Array, predictions: Predictions) -> bytes:
    """Sixteen items with the probabilities of their classes, right in blue and wrong in red; PNG.

    Up to four of them were predicted wrong, the others right, both spread evenly over the data and
    in its order. So errors are visible if there are any, and over-represented: the headline has the
    share over all items.

    Args:
        images: As `trainer.data.images.are_images` says, one per prediction.
        predictions: Of one class per item, or of labels.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    right = predictions.right
    chosen = items_to_show(right)
    names = drawable_names(predictions.classes)
    figure = new_figure(width=_GRID_WIDTH, height=_GRID_HEIGHT)
    for position, (item, image) in enumerate(
        zip(chosen.tolist(), dark_on_light(images, chosen), strict=True)
    ):
        image_axes, bar_axes = _cell(figure, *divmod(position, _GRID_SIDE))
        _draw_image(image_axes, image)
        _draw_bars(bar_axes, predictions, item, names)
        colour = RIGHT if right[item] else WRONG
        title = _title(predictions, item, names)
        image_axes.set_title(title, loc="left", fontsize=10.5, color=colour, pad=5, **PLAIN)
    _draw_headline(figure, predictions, len(chosen), int((~right[chosen]).sum()))
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
    # Pixels of a small image are told apart; those of a photograph are averaged.
    drawn = "nearest" if max(image.shape[:2]) <= _MOST_PIXELS else "antialiased"
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation=drawn)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(RULE)


def _draw_bars(axes: Any, predictions: Predictions, item: int, names: Sequence[str]) -> None:
    lengths = np.nan_to_num(predictions.probabilities[item])
    true, predicted = predictions.true_of(item), predictions.predicted_of(item)
    # In class order; only the likeliest classes if there are many.
    shown = np.sort(np.argsort(-lengths, kind="stable")[:_BARS])
    colours = [RIGHT if c in true else WRONG if c in predicted else OTHER for c in shown]
    axes.barh(range(len(shown)), lengths[shown], color=colours, height=0.72)
    if predictions.threshold is not None:
        axes.axvline(predictions.threshold, color=MUTED, linewidth=0.8, linestyle=":")
    axes.set_xlim(0, 1)
    # Two bars are no thicker than ten.
    room = max(_FEWEST_ROWS - len(shown), 0) / 2
    axes.set_ylim(len(shown) - 0.4 + room, -0.6 - room)
    axes.set_xticks([])
    # The name of a true label without a long bar would tell nothing from the others'.
    axes.set_yticks(range(len(shown)), [names[c] for c in shown], **PLAIN)
    axes.tick_params(colors=MUTED, labelsize=7.5, length=0, pad=3)
    if predictions.are_labels:
        for text, c in zip(axes.get_yticklabels(), shown, strict=True):
            text.set_color(RIGHT if c in true else MUTED)
    axes.spines[["top", "bottom", "right"]].set_visible(False)
    axes.spines["left"].set_color(OTHER)


def _title(predictions: Predictions, item: int, names: Sequence[str]) -> str:
    true = ", ".join(names[c] for c in predictions.true_of(item)) or "none"
    if not predictions.present[item]:
        return shortened(f"no result ({true})", _MAX_TITLE_LENGTH)
    predicted = predictions.predicted_of(item)
    if not predictions.are_labels:
        (c,) = predicted
        return f"{names[c]} {predictions.probabilities[item, c]:.0%} ({true})"
    found = ", ".join(names[c] for c in predicted) or "none"
    return shortened(found if predictions.right[item] else f"{found} ({true})", _MAX_TITLE_LENGTH)


def _draw_headline(figure: Any, predictions: Predictions, shown: int, shown_wrong: int) -> None:
    left, right = _MARGIN / _GRID_WIDTH, predictions.right
    headline = f"{right.mean():.1%} of {len(right):,} items "
    headline += "have all labels right" if predictions.are_labels else "predicted right"
    legend = (
        "predicted labels (true labels)   ·   blue: a true label, red: a wrong one, dotted: the "
        "threshold"
        if predictions.are_labels
        else "predicted class, its probability (true class)   ·   blue bar: the true class, red "
        "bar: a wrong prediction"
    )
    figure.text(
        left,
        1 - 0.16 / _GRID_HEIGHT,
        headline,
        va="top",
        fontsize=16,
        fontweight="bold",
        color=INK,
    )
    figure.text(
        left,
        0.12 / _GRID_HEIGHT,
        f"{legend}   ·   {shown_wrong} of the {shown} were picked because they are wrong",
        fontsize=9.5,
        color=MUTED,
    )
