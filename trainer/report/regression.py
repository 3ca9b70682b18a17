"""What a report says of one value: the distribution of its errors, and the largest."""

import numpy as np

from fornada.formats.items import Array
from trainer.evaluation.regression import RegressionEvaluation, evaluate_values, residuals
from trainer.figures.residuals import MAX_POINTS, residual_figure, scatter_figure
from trainer.report.page import Section, Tile, percent

#: Of the table of the largest residuals.
MAX_ROWS = 12


def regression_report(
    outputs: Array, targets: Array, *, output: str
) -> tuple[list[Tile], list[Section]]:
    """The headline numbers of a regression, and the sections on its test items.

    Args:
        outputs: float [items, 1].
        targets: float [items].
        output: Name of the predicted value.

    Raises:
        InputError: They do not fit together.
        MissingExtraError: matplotlib is not installed.
    """
    evaluation = evaluate_values(outputs, targets)
    errors = residuals(outputs, targets)
    present = np.isfinite(errors)
    errors, values, targets = errors[present], outputs[present, 0], targets[present]
    scatter, histogram = scatter_figure(values, targets, output=output), residual_figure(errors)
    error_section = Section(
        anchor="errors",
        title="Errors",
        values={
            "median": float(np.median(np.abs(errors))),
            "mean": float(errors.mean()),
            "point_count": MAX_POINTS if len(errors) > MAX_POINTS else None,
            "failed_count": evaluation.failed,
            "scatter": scatter,
            "histogram": histogram,
        },
        figures={"true-and-predicted.png": scatter, "residuals.png": histogram},
    )
    largest = np.argsort(-np.abs(errors), kind="stable")[:MAX_ROWS]
    columns = (np.flatnonzero(present), targets, values, errors)
    rows = zip(*(column[largest] for column in columns), strict=True)
    residual_section = Section(
        anchor="residuals",
        title="Largest residuals",
        values={"rows": list(rows), "are_named": False},
    )
    return _tiles(evaluation), [error_section, residual_section]


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
