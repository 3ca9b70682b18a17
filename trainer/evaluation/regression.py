"""Predicted values measured against the true ones."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError
from fornada.formats.items import Array


@dataclass(frozen=True, kw_only=True, slots=True)
class RegressionEvaluation:
    """Errors over all items, in the unit of the targets."""

    items: int
    #: Items without a finite result; the errors leave them out.
    failed: int
    mean_absolute_error: float
    root_mean_squared_error: float
    #: Share of the targets' variance explained; `None` if all targets are equal.
    r_squared: float | None

    def to_plain(self) -> dict[str, float | int | None]:
        """The evaluation as JSON."""
        return dataclasses.asdict(self)


def residuals(values: Array, targets: Array) -> NDArray[np.float64]:
    """Predicted minus true values: float64 [items]; NaN where there is no result.

    Args:
        values: float [items, 1].
        targets: float [items].

    Raises:
        InputError: They do not fit together.
    """
    if targets.ndim != 1 or targets.dtype.kind not in "uif" or len(targets) == 0:
        raise InputError(
            f"the targets are {targets.dtype} {targets.shape}; give one number per item"
        )
    if values.shape != (len(targets), 1) or values.dtype.kind != "f":
        raise InputError(
            f"the predicted values are {values.dtype} {values.shape}, but {len(targets)} targets "
            f"need float ({len(targets)}, 1); give values of the same items"
        )
    difference: NDArray[np.float64] = values[:, 0].astype(np.float64) - targets.astype(np.float64)
    return difference


def evaluate_each(
    values: Array, targets: Array, names: Sequence[str]
) -> dict[str, RegressionEvaluation]:
    """Compare each of several predicted values with its targets, by name.

    Args:
        values: float [items, values]; NaN where there is no result.
        targets: float [items, values], or [items] of one value.
        names: Names of the values.

    Raises:
        InputError: They do not fit together, or no item has a result.
    """
    columns = targets[:, None] if targets.ndim == 1 else targets
    if columns.shape != values.shape or columns.shape[1:] != (len(names),):
        raise InputError(
            f"the predicted values are {values.dtype} {values.shape}, the targets {targets.dtype} "
            f"{targets.shape}, and there are {len(names)} names; give values of the same items"
        )
    return {
        name: evaluate_values(values[:, [position]], columns[:, position])
        for position, name in enumerate(names)
    }


def evaluate_values(values: Array, targets: Array) -> RegressionEvaluation:
    """Compare predicted values with targets.

    Args:
        values: float [items, 1]; NaN where there is no result.
        targets: float [items].

    Raises:
        InputError: They do not fit together, or no item has a result.
    """
    errors = residuals(values, targets)
    present = np.isfinite(errors)
    if not present.any():
        raise InputError(f"none of the {len(errors)} items has a result; see the errors of the job")
    true = targets[present].astype(np.float64)
    squares, spread = np.square(errors[present]), np.square(true - true.mean())
    return RegressionEvaluation(
        items=len(errors),
        failed=int((~present).sum()),
        mean_absolute_error=float(np.abs(errors[present]).mean()),
        root_mean_squared_error=float(np.sqrt(squares.mean())),
        r_squared=float(1 - squares.sum() / spread.sum()) if spread.any() else None,
    )
