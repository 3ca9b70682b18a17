"""Golden batches: a model's outputs when it was published, compared with its outputs here."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from fornada.errors import ModelRefusedError, ModelUnusableError
from fornada.formats.items import Array
from fornada.formats.rows import Rows
from model_store.engines.interface import Predict

#: Largest accepted difference from a golden batch. CPUs differ by about 1e-6 in float32, wrong
#: weights or a wrong layer by 1e-2 and more. Absolute; relative to the largest golden output where
#: that is above 1 (logits, regression).
GOLDEN_TOLERANCE = 1e-4
#: The same for bfloat16, whose mantissa has 8 bits: probabilities were seen to differ by 3e-3,
#: larger outputs by 1 % of the largest.
BFLOAT16_TOLERANCE = 2e-2

Precision = Literal["float32", "bfloat16"]


def tolerance_of(precision: Precision) -> float:
    """Largest accepted difference of an engine that computes so from a golden batch in float32."""
    return GOLDEN_TOLERANCE if precision == "float32" else BFLOAT16_TOLERANCE


def refusal_by(framework: str | None, *, golden_framework: str | None) -> type[ModelRefusedError]:
    """What other outputs than golden ones mean.

    Args:
        framework: `Engine.framework` of what computes here.
        golden_framework: That of what computed the golden batch; with the same one the model is at
            fault, with another one perhaps what it lacks.
    """
    return ModelUnusableError if framework == golden_framework else ModelRefusedError


def predict_items(predict: Predict, items: Rows, *, tile_items: int) -> Rows:
    """Run `predict` over any number of items; the last tile is padded with blank rows.

    Args:
        predict: From `compile_predict`, for the same `tile_items`.
        items: Of any number.
        tile_items: Rows of every predict call.
    """
    return Rows.joined(list(_predicted(predict, items, tile_items)))


def _predicted(predict: Predict, items: Rows, tile_items: int) -> Iterator[Rows]:
    for first in range(0, len(items), tile_items):
        rows = items[first : first + tile_items]
        tile = Rows(*map(np.ascontiguousarray, rows.padded(tile_items).arrays))
        yield predict(tile)[: len(rows)]


def check_golden(
    predict: Predict,
    *,
    inputs: Rows,
    outputs: Rows,
    tile_items: int,
    where: str,
    tolerance: float = GOLDEN_TOLERANCE,
    error: type[ModelRefusedError] = ModelRefusedError,
) -> float:
    """Compare predictions with those stored when the model was published.

    Args:
        predict: From `compile_predict`, for the same `tile_items`.
        inputs: Golden items.
        outputs: What the model gave for them.
        tile_items: Rows of every predict call.
        where: The model, for the message.
        tolerance: Largest accepted difference; times the largest output where that is above 1.
        error: What to raise.

    Returns:
        The largest absolute difference.

    Raises:
        ModelRefusedError: The difference is over the tolerance, or the shapes differ.
    """
    found = predict_items(predict, inputs, tile_items=tile_items)
    if len(found.arrays) != len(outputs.arrays):
        raise error(
            f"{where} gives {len(found.arrays)} outputs, and its golden batch has "
            f"{len(outputs.arrays)}; publish the model again"
        )
    return max(
        _checked(have, want, where=where, tolerance=tolerance, error=error)
        for have, want in zip(found.arrays, outputs.arrays, strict=True)
    )


def _checked(
    found: Array, outputs: Array, *, where: str, tolerance: float, error: type[ModelRefusedError]
) -> float:
    """The largest difference of one output."""
    if _without_ones(found.shape) != _without_ones(outputs.shape):
        raise error(
            f"{where} gives outputs of shape {found.shape}, and its golden batch has "
            f"{outputs.shape}; publish the model again"
        )
    have = found.astype(np.float64).reshape(-1)
    want = outputs.astype(np.float64).reshape(-1)
    # A model may give NaN or infinity, of which the difference is NaN.
    differ = (have != want) & ~(np.isnan(have) & np.isnan(want))
    difference = float(np.max(np.abs(have[differ] - want[differ]), initial=0.0))
    limit = tolerance * float(np.max(np.abs(want), where=np.isfinite(want), initial=1.0))
    # NaN compares false with everything and must not pass.
    if not difference <= limit:
        raise error(
            f"{where} differs by {difference:.3g} from the outputs of its golden batch, over "
            f"{limit:.3g}; artifact and golden batch do not belong together, or this machine "
            "computes differently: publish the model again"
        )
    return difference


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A number an item may have been stored as a vector of one."""
    return (shape[0], *(side for side in shape[1:] if side != 1))
