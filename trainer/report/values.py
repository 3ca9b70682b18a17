"""What a report says of a regression: its errors, how they lie, and the worst of them."""

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from trainer.evaluation.regression import RegressionEvaluation, evaluate_values, residuals
from trainer.figures.residuals import MOST_POINTS, residual_figure, scatter_figure
from trainer.report.markup import percent, table, tag
from trainer.report.page import Section, Tile, drawing

_WORST = 12


def regression_report(
    outputs: Array, targets: Array, *, output: str
) -> tuple[list[Tile], list[Section]]:
    """What is seen first of a regression, and the sections on its test items.

    Args:
        outputs: float [items, 1].
        targets: float [items].
        output: What is predicted.

    Raises:
        InputError: They do not fit together.
        MissingExtraError: matplotlib is not installed.
    """
    evaluation = evaluate_values(outputs, targets)
    errors = residuals(outputs, targets)
    return _tiles(evaluation), [
        _error_section(outputs[:, 0], targets, errors, output=output),
        _mistakes_section(outputs[:, 0], targets, errors),
    ]


def _tiles(evaluation: RegressionEvaluation) -> list[Tile]:
    return [
        Tile(
            label="Mean absolute error",
            value=f"{evaluation.mean_absolute_error:.4g}",
            detail=f"over {evaluation.items:,} test items",
        ),
        Tile(
            label="RMS error",
            value=f"{evaluation.root_mean_squared_error:.4g}",
            detail="weighs outliers",
        ),
        Tile(
            label="Variance explained",
            value=percent(evaluation.r_squared),
            detail="R² on the test items",
        ),
    ]


def _error_section(
    values: Array, targets: Array, errors: NDArray[np.float64], *, output: str
) -> Section:
    there = np.isfinite(errors)
    figures = {
        "true-and-predicted.png": scatter_figure(values[there], targets[there], output=output),
        "residuals.png": residual_figure(errors[there]),
    }
    alts = (
        "Predicted against true values; on the dashed line they are equal.",
        f"Histogram of the residuals; their mean is {errors[there].mean():+.3g}.",
    )
    middle = float(np.median(np.abs(errors[there])))
    taken = f" The points are {MOST_POINTS:,} items." if there.sum() > MOST_POINTS else ""
    lost = f" {int((~there).sum()):,} items have no result." if not there.all() else ""
    return Section(
        anchor="errors",
        title="How its errors lie",
        lead=f"Half of the predictions are within {middle:.3g} of the true value.{taken}{lost}",
        body=[
            tag(
                "div",
                *(drawing(png, alt=alt) for png, alt in zip(figures.values(), alts, strict=True)),
                class_="pair",
            )
        ],
        figures=figures,
    )


def _mistakes_section(values: Array, targets: Array, errors: NDArray[np.float64]) -> Section:
    worst = np.argsort(-np.nan_to_num(np.abs(errors), nan=-1), kind="stable")[:_WORST]
    rows = [
        (f"{item}", f"{targets[item]:#.4g}", f"{values[item]:#.4g}", f"{errors[item]:+#.4g}")
        for item in worst
        if np.isfinite(errors[item])
    ]
    numbers = ("True", "Predicted", "Residual")
    return Section(
        anchor="mistakes",
        title="Worst mistakes",
        lead="The largest residuals. Items are numbered from 0 in the order of the test split.",
        body=[table(("Item", *numbers), rows, label="Worst mistakes", numbers=numbers)],
    )
