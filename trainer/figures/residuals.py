"""Predicted against true values of a regression, and the distribution of the residuals."""

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from trainer.figures.canvas import (
    MUTED,
    RIGHT,
    WRONG,
    declutter,
    new_figure,
    to_png,
    write_legend,
    write_title,
)

#: More points would hide each other and take seconds.
MAX_POINTS = 5000


def scatter_figure(values: Array, targets: Array, *, output: str) -> bytes:
    """Predicted against true values of up to 5,000 items, spread evenly over the data; PNG.

    Args:
        values: float [items], finite.
        targets: float [items].
        output: Name of the predicted value.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    shown = np.linspace(0, len(targets) - 1, min(len(targets), MAX_POINTS)).astype(np.intp)
    figure = new_figure(width=5.4, height=4.6)
    axes = figure.add_axes((0.13, 0.12, 0.83, 0.76))
    ends = [float(min(values.min(), targets.min())), float(max(values.max(), targets.max()))]
    axes.plot(ends, ends, "--", color=MUTED, linewidth=1)
    alpha = float(np.clip(150 / len(shown), 0.15, 0.75))
    axes.scatter(targets[shown], values[shown], s=16, color=RIGHT, alpha=alpha, linewidths=0)
    write_title(axes, output)
    axes.set_xlabel("true", fontsize=8.5, color=MUTED)
    axes.set_ylabel("predicted", fontsize=8.5, color=MUTED)
    declutter(axes, grid="both")
    return to_png(figure)


def residual_figure(residuals: NDArray[np.float64]) -> bytes:
    """Histogram of the residuals, predicted minus true; PNG.

    Args:
        residuals: float64 [items], finite.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(width=5.4, height=4.6)
    axes = figure.add_axes((0.13, 0.12, 0.83, 0.76))
    low, high = float(residuals.min()), float(residuals.max())
    # NumPy refuses bins narrower than the precision of the numbers.
    room = max(1e-9 * max(abs(low), abs(high)), 1e-9)
    axes.hist(residuals, bins=31, range=(low - room, high + room), color=RIGHT, rwidth=0.92)
    axes.axvline(0, color=MUTED, linewidth=1, linestyle="--")
    mean = float(residuals.mean())
    axes.axvline(mean, color=WRONG, linewidth=1.4, label=f"mean {mean:+.3g}")
    write_title(axes, "Residuals")
    axes.set_xlabel("predicted minus true", fontsize=8.5, color=MUTED)
    axes.set_ylabel("items", fontsize=8.5, color=MUTED)
    axes.yaxis.get_major_locator().set_params(integer=True)
    write_legend(axes)
    declutter(axes)
    return to_png(figure)
