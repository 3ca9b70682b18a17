"""What a report says of several values: the errors of each, and the largest of all."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fornada.formats.items import Array
from trainer.evaluation.regression import RegressionEvaluation, evaluate_each
from trainer.figures.residuals import scatter_figure
from trainer.report.page import Section, Tile, percent, short
from trainer.report.regression import MAX_ROWS, regression_report

#: Values with a figure of their own; the table has all.
_MAX_FIGURES = 6


def values_report(
    outputs: Array, targets: Array, names: Sequence[str]
) -> tuple[list[Tile], list[Section]]:
    """The headline numbers of one value or several, and the sections on the test items.

    Args:
        outputs: float [items, values].
        targets: float [items, values], or [items] of one value.
        names: Names of the values.

    Raises:
        InputError: They do not fit together.
        MissingExtraError: matplotlib is not installed.
    """
    evaluations = evaluate_each(outputs, targets, names)
    if len(names) == 1:
        return regression_report(outputs, targets.reshape(len(targets)), output=names[0])
    weakest = sorted(evaluations, key=lambda name: _explained(evaluations[name]))
    position = {name: place for place, name in enumerate(names)}
    figures = {}
    for name in weakest[:_MAX_FIGURES]:
        values, true = outputs[:, position[name]], targets[:, position[name]]
        present = np.isfinite(values)
        figures[name] = scatter_figure(values[present], true[present], output=name)
    errors = Section(
        anchor="values",
        title="Errors",
        values={
            "rows": [(name, evaluations[name]) for name in weakest],
            "scatters": list(figures.items()),
            "value_count": len(names),
            "failed_count": max(found.failed for found in evaluations.values()),
        },
        figures={f"true-and-predicted-{position[name]}.png": png for name, png in figures.items()},
    )
    return _tiles(evaluations, weakest), [errors, _residual_section(outputs, targets, names)]


def _explained(evaluation: RegressionEvaluation) -> float:
    """Sorts values whose targets are all equal last: nothing is there to explain."""
    return np.inf if evaluation.r_squared is None else evaluation.r_squared


def _tiles(evaluations: Mapping[str, RegressionEvaluation], weakest: Sequence[str]) -> list[Tile]:
    items = evaluations[weakest[0]].items
    shares = [found.r_squared for found in evaluations.values() if found.r_squared is not None]
    best = evaluations[weakest[0]].r_squared
    return [
        Tile(
            label="Variance explained",
            value=percent(float(np.mean(shares)) if shares else None),
            detail=f"mean R² of {len(evaluations):,} values",
        ),
        Tile(label="Lowest", value=percent(best), detail=f"R² of {short(weakest[0])}"),
        Tile(label="Tested on", value=f"{items:,}", detail="items"),
    ]


def _residual_section(outputs: Array, targets: Array, names: Sequence[str]) -> Section:
    """The largest errors, each measured by how widely the targets of its value spread."""
    errors: NDArray[np.float64] = outputs.astype(np.float64) - targets.astype(np.float64)
    spread = targets.astype(np.float64).std(axis=0)
    sizes = np.nan_to_num(np.abs(errors) / np.where(spread > 0, spread, 1), nan=-1, posinf=-1)
    largest = np.argsort(-sizes, axis=None, kind="stable")[:MAX_ROWS]
    places = [np.unravel_index(place, sizes.shape) for place in largest]
    rows = [
        (int(item), names[value], targets[item, value], outputs[item, value], errors[item, value])
        for item, value in places
        if sizes[item, value] >= 0
    ]
    return Section(
        anchor="residuals", title="Largest residuals", values={"rows": rows, "are_named": True}
    )
