"""Predict rows whose call failed, halved down to the rows at fault."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fornada.errors import PredictionError
from fornada.formats.items import Array
from fornada.jobs.items import Predicted

Probabilities = NDArray[np.float32]

_MAX_REASON_CHARACTERS = 500


def predict_halves(
    predict: Callable[[Array], Probabilities], rows: Array, error: PredictionError
) -> Predicted:
    """Predict `rows`, on all of which at once `predict` failed with `error`.

    One bad row among n costs about 2 log2(n) calls.

    Raises:
        PredictionError: The model fails on zeros too, so that the rows are not the cause.
    """
    try:
        # What partial tiles are padded with.
        width = predict(np.zeros_like(rows[:1])).shape[1]
    except PredictionError:
        raise error from None
    outputs = np.full((len(rows), width), np.nan, np.float32)
    errors: dict[int, str] = {}
    failing = [(0, len(rows), error)]
    while failing:
        first, count, why = failing.pop()
        if count == 1:
            errors[first] = f"the model failed on it: {why}"[:_MAX_REASON_CHARACTERS]
            continue
        half = count // 2
        for start, end in ((first, first + half), (first + half, first + count)):
            try:
                outputs[start:end] = predict(rows[start:end])
            except PredictionError as exc:
                failing.append((start, end - start, exc))
    return Predicted(outputs, errors)
