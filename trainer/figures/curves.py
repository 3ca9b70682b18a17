"""Training curves: one figure per metric."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.figures.canvas import MUTED, RIGHT, declutter, new_figure, to_png, write_title

#: The most points with a marker each.
_MAX_MARKED = 30
_VALIDATION = "val_"


def metric_names(history: Mapping[str, Sequence[float]]) -> list[str]:
    """The metrics in a history, on training or validation items; the loss first."""
    names = dict.fromkeys(curve.removeprefix(_VALIDATION) for curve in history)
    return sorted(names, key=lambda name: name != "loss")


def metric_curve(
    metric: str, history: Mapping[str, Sequence[float]], *, best_epoch: int | None = None
) -> bytes:
    """A metric by epoch, on training and validation items; PNG.

    Args:
        metric: `loss`, `accuracy`, ….
        history: Curves by name (`loss`, `val_loss`, …); one value per epoch.
        best_epoch: The epoch to mark, from 1.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(width=5.4, height=3.2)
    axes = figure.add_axes((0.1, 0.15, 0.68, 0.7))
    curves = {
        "training": (history.get(metric, ()), MUTED, "--"),
        "validation": (history.get(f"{_VALIDATION}{metric}", ()), RIGHT, "-"),
    }
    for values, colour, style in curves.values():
        marker = "o" if len(values) <= _MAX_MARKED else None
        epochs = range(1, len(values) + 1)
        axes.plot(epochs, values, style, color=colour, marker=marker, ms=4, lw=1.8)
    if best_epoch is not None:
        axes.axvline(best_epoch, color=MUTED, linewidth=0.9, linestyle=":")
        axes.annotate(
            "best epoch",
            (best_epoch, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=MUTED,
        )
    _name_ends(axes, [(label, values, colour) for label, (values, colour, _) in curves.items()])
    write_title(axes, metric, pad=16)
    axes.set_xlabel("epoch", fontsize=8.5, color=MUTED)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.margins(x=0.04, y=0.12)
    declutter(axes)
    return to_png(figure)


def _name_ends(axes: Any, curves: list[tuple[str, Sequence[float], str]]) -> None:
    """Write the name and last value of each curve beside its end."""
    ended = [curve for curve in curves if curve[1] and math.isfinite(curve[1][-1])]
    ended.sort(key=lambda curve: curve[1][-1])
    for place, (label, values, colour) in enumerate(ended):
        axes.annotate(
            f"{label}\n{values[-1]:.4g}",
            (len(values), values[-1]),
            # Keeps the names apart where curves end close together.
            xytext=(9, (24 * place - 12) if len(ended) > 1 else 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=colour,
            annotation_clip=False,
        )
