"""Pictures of training and of predictions, as PNG bytes."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.arrays import Array
from fornada.errors import MissingExtraError
from trainer.evaluation import predicted_right

#: As in TensorFlow's Fashion-MNIST tutorial: right in blue, wrong in red. Both are told apart by
#: readers with any colour vision.
RIGHT, WRONG, OTHER = "#2166ac", "#c9302c", "#c3c7cc"
_INK, _MUTED = "#1f2328", "#6b7280"
_GRID_SIDE = 4
_WRONG_SHOWN = 4
_BARS = 10
_LONGEST_NAME = 14
# Inches. Laid out by hand: automatic layouts let titles run into the names of the bars.
_GRID_WIDTH, _GRID_HEIGHT, _MARGIN, _HEAD, _FOOT = 14.2, 9.2, 0.25, 0.35, 0.45
_IMAGE_SIDE, _NAMES_WIDTH, _CELL_GAP = 1.62, 0.82, 0.22
_DPI = 130


def training_curve(history: Mapping[str, Sequence[float]]) -> bytes:
    """Loss and accuracy by epoch, on the training and on the validation items.

    Args:
        history: `loss`, `accuracy` and, where there was a validation split, `val_loss` and
            `val_accuracy`; one value an epoch.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = _figure(width=9, height=3.6)
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, 2)
    for axes, metric in zip(panels, ("loss", "accuracy"), strict=True):
        _draw_curve(axes, metric, history)
    panels[0].legend(frameon=False, fontsize=9)
    figure.suptitle("Training", x=0.02, ha="left", fontsize=13, fontweight="bold", color=_INK)
    return _png(figure)


def prediction_grid(
    images: Array,
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    classes: Sequence[str],
) -> bytes:
    """Sixteen items with the probabilities of all their classes, right in blue and wrong in red.

    Shown are up to four items that were predicted wrong, taken evenly from all of those, and else
    items that were predicted right, taken evenly from all of those; in the order of the data. So
    errors are seen where there are any, and more often than they occur: the headline has the
    accuracy over all items.

    Args:
        images: [items, height, width] or [items, height, width, 1 or 3].
        labels: int [items], the true class.
        probabilities: float [items, classes].
        classes: Names of the classes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    right = predicted_right(probabilities, labels)
    chosen = _choose(right)
    figure = _figure(width=_GRID_WIDTH, height=_GRID_HEIGHT)
    for position, item in enumerate(chosen):
        prediction = _Prediction.of(probabilities[item], int(labels[item]))
        image_axes, bar_axes = _cell(figure, *divmod(position, _GRID_SIDE))
        _draw_image(image_axes, images[item])
        _draw_bars(bar_axes, prediction, classes)
        text, colour = _title(prediction, classes)
        image_axes.set_title(text, loc="left", fontsize=10.5, color=colour, pad=5)
    _draw_headline(figure, right, len(chosen), int((~right[chosen]).sum()))
    return _png(figure)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Prediction:
    """One item's probabilities, its likeliest class (`None`: it has no result), and its label."""

    probabilities: NDArray[np.floating[Any]]
    predicted: int | None
    label: int

    @classmethod
    def of(cls, probabilities: NDArray[np.floating[Any]], label: int) -> "_Prediction":
        failed = bool(np.isnan(probabilities).any())
        predicted = None if failed else int(np.argmax(probabilities))
        return cls(probabilities=probabilities, predicted=predicted, label=label)


def _figure(*, width: float, height: float) -> Any:
    try:
        # Not pyplot: it keeps every figure, and looks for a display.
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - a second
        from matplotlib.figure import Figure  # noqa: PLC0415 - a second
    except ImportError as exc:
        raise MissingExtraError(
            "pictures need matplotlib; run: pip install 'fornada[train]'"
        ) from exc
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    # Without matplotlib's version in it, the same numbers give the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_curve(axes: Any, metric: str, history: Mapping[str, Sequence[float]]) -> None:
    curves = {
        "training": (history.get(metric, ()), _MUTED, "--"),
        "validation": (history.get(f"val_{metric}", ()), RIGHT, "-"),
    }
    highest = max((values[-1] for values, _, _ in curves.values() if values), default=0.0)
    for label, (values, colour, style) in curves.items():
        if not values:
            continue
        axes.plot(
            range(1, len(values) + 1), values, style, color=colour, marker="o", ms=4, label=label
        )
        axes.annotate(
            f"{values[-1]:.3f}",
            (len(values), values[-1]),
            # The curves often end close together; their numbers must not.
            xytext=(0, 7 if values[-1] == highest else -7),
            textcoords="offset points",
            ha="center",
            va="bottom" if values[-1] == highest else "top",
            fontsize=8.5,
            color=colour,
        )
    axes.set_title(metric, loc="left", fontsize=10.5, color=_INK)
    axes.set_xlabel("epoch", fontsize=9, color=_MUTED)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(x=0.06, y=0.14)
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    axes.tick_params(colors=_MUTED, labelsize=8, length=0)
    axes.spines[:].set_visible(False)


def _choose(right: NDArray[np.bool_]) -> NDArray[np.intp]:
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
    # Middles of `count` equal stretches: data sets are often sorted by class.
    return items[((np.arange(count) + 0.5) * len(items) / max(count, 1)).astype(np.intp)]


def _cell(figure: Any, row: int, column: int) -> tuple[Any, Any]:
    """Axes for one item's image and, to the right of it, its bars."""
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


def _draw_image(axes: Any, image: Array) -> None:
    grey = image.squeeze(-1) if image.ndim > 2 and image.shape[-1] == 1 else image  # noqa: PLR2004 - axes
    # Dark on white, as on paper; colour images are shown as they are.
    axes.imshow(grey, cmap="binary" if grey.ndim == 2 else None, interpolation="nearest")  # noqa: PLR2004
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#e5e7eb")


def _draw_bars(axes: Any, prediction: _Prediction, classes: Sequence[str]) -> None:
    probabilities = np.nan_to_num(prediction.probabilities)
    # All classes in their order, or the likeliest where there are too many to read.
    shown = np.sort(np.argsort(-probabilities, kind="stable")[:_BARS])
    colours = [
        RIGHT if c == prediction.label else WRONG if c == prediction.predicted else OTHER
        for c in shown
    ]
    axes.barh(range(len(shown)), probabilities[shown], color=colours, height=0.72)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xticks([])
    axes.set_yticks(range(len(shown)), [_shortened(classes[c]) for c in shown])
    axes.tick_params(colors=_MUTED, labelsize=7.5, length=0, pad=3)
    axes.spines[["top", "bottom", "right"]].set_visible(False)
    axes.spines["left"].set_color(OTHER)


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _title(prediction: _Prediction, classes: Sequence[str]) -> tuple[str, str]:
    truth = classes[prediction.label]
    if prediction.predicted is None:
        return f"no result ({truth})", WRONG
    share = prediction.probabilities[prediction.predicted]
    colour = RIGHT if prediction.predicted == prediction.label else WRONG
    return f"{classes[prediction.predicted]} {share:.0%} ({truth})", colour


def _draw_headline(figure: Any, right: NDArray[np.bool_], shown: int, shown_wrong: int) -> None:
    left = _MARGIN / _GRID_WIDTH
    figure.text(
        left,
        1 - 0.16 / _GRID_HEIGHT,
        f"{right.mean():.1%} of {len(right):,} items predicted right",
        va="top",
        fontsize=16,
        fontweight="bold",
        color=_INK,
    )
    picked = ", picked to be seen" if shown_wrong else ""
    figure.text(
        left,
        0.12 / _GRID_HEIGHT,
        "predicted class, its probability (true class)   ·   blue bar: the true class, red bar: a "
        f"wrong prediction   ·   {shown_wrong} of the {shown} shown are wrong{picked}",
        fontsize=9.5,
        color=_MUTED,
    )
