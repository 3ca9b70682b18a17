"""Golden batches: a model's outputs when it was published, compared with its outputs here."""

import numpy as np
from numpy.typing import NDArray

from fornada.errors import ModelRefusedError
from fornada.formats.items import Array
from model_store.engines.interface import Predict

#: Largest accepted difference from a golden batch. CPUs differ by about 1e-6 in float32, wrong
#: weights or a wrong layer by 1e-2 and more. Absolute; relative to the largest golden output where
#: that is above 1 (logits, regression).
GOLDEN_TOLERANCE = 1e-4


def predict_items(predict: Predict, items: Array, *, tile_items: int) -> NDArray[np.float32]:
    """Run `predict` over any number of items; the last tile is padded with zeros.

    Args:
        predict: From `compile_predict`, for the same `tile_items`.
        items: item dtype [items, *item_shape].
        tile_items: Rows of every predict call.

    Returns:
        float32 [items, outputs].
    """
    outputs = []
    for first in range(0, len(items), tile_items):
        rows = items[first : first + tile_items]
        tile = rows
        if len(rows) < tile_items:
            tile = np.zeros((tile_items, *items.shape[1:]), items.dtype)
            tile[: len(rows)] = rows
        outputs.append(predict(np.ascontiguousarray(tile))[: len(rows)])
    return np.concatenate(outputs)


def check_golden(
    predict: Predict,
    *,
    inputs: Array,
    outputs: Array,
    tile_items: int,
    where: str,
    tolerance: float = GOLDEN_TOLERANCE,
    error: type[ModelRefusedError] = ModelRefusedError,
) -> float:
    """Compare predictions with those stored when the model was published.

    Args:
        predict: From `compile_predict`, for the same `tile_items`.
        inputs: item dtype [items, *item_shape].
        outputs: float32 [items, outputs], or [items] of one number each.
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
    outputs = outputs.astype(np.float32).reshape(len(outputs), -1)
    if found.shape != outputs.shape:
        raise error(
            f"{where} gives outputs of shape {found.shape}, and its golden batch has "
            f"{outputs.shape}; publish the model again"
        )
    # A model may give NaN or infinity, of which the difference is NaN.
    differ = (found != outputs) & ~(np.isnan(found) & np.isnan(outputs))
    difference = float(np.max(np.abs(found[differ] - outputs[differ]), initial=0.0))
    limit = tolerance * float(np.max(np.abs(outputs), where=np.isfinite(outputs), initial=1.0))
    # NaN compares false with everything and must not pass.
    if not difference <= limit:
        raise error(
            f"{where} differs by {difference:.3g} from the outputs of its golden batch, over "
            f"{limit:.3g}; artifact and golden batch do not belong together, or this machine "
            "computes differently: publish the model again"
        )
    return difference
