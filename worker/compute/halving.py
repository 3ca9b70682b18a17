"""Predict rows whose call failed: find the rows at fault, and predict the others."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fornada.errors import PredictionError, error_line
from fornada.formats.items import Array
from fornada.jobs.items import Predicted

Probabilities = NDArray[np.float32]
#: Item dtype [rows, *item_shape] → float32 [rows, outputs].
PredictRows = Callable[[Array], Probabilities]


def predict_halves(
    predict: PredictRows,
    rows: Array,
    error: PredictionError,
    *,
    predict_one: PredictRows,
    output_count: int,
    shape_is_open: bool,
) -> Predicted:
    """Predict `rows`, on all of which at once `predict` failed with `error`.

    One bad row among n is halved down to in about 2 log2(n) calls. If that does not find all, each
    row left is tried alone: with many bad rows, the whole costs that many calls, n calls of a
    single row, and one more.

    Args:
        predict: Predicts up to as many rows as there are here.
        rows: Item dtype [rows, *item_shape].
        error: Why they failed together.
        predict_one: Predicts a single row, to learn whether it fails; its bytes do not count.
        output_count: Numbers of an item.
        shape_is_open: Whether items of this shape may be at fault, all of them.

    Raises:
        PredictionError: The model fails on zeros too, so that the rows are not the cause.
    """
    found = Predicted(np.full((len(rows), output_count), np.nan, np.float32), {})
    try:
        # What partial tiles are padded with.
        predict(np.zeros_like(rows[:1]))
    except PredictionError:
        if not shape_is_open:
            # Its text, which ends the job and is logged, quotes no row of the caller's.
            raise
        found.errors.update(dict.fromkeys(range(len(rows)), _reason(error)))
        return found
    calls_left = 2 * len(rows).bit_length()
    failing = [(0, len(rows), error)]
    while failing and calls_left > 0:
        first, count, why = failing.pop()
        if count == 1:
            found.errors[first] = _reason(why)
            continue
        calls_left -= 2
        half = count // 2
        for start, end in ((first, first + half), (first + half, first + count)):
            try:
                found.outputs[start:end] = predict(rows[start:end])
            except PredictionError as exc:
                failing.append((start, end - start, exc))
    left = [row for first, count, _ in failing for row in range(first, first + count)]
    _predict_good(predict, rows, left, found, predict_one=predict_one)
    return found


def _predict_good(
    predict: PredictRows,
    rows: Array,
    left: list[int],
    found: Predicted,
    *,
    predict_one: PredictRows,
) -> None:
    """Predict those of the rows `left` that do not fail alone."""
    good = []
    for row in left:
        try:
            predict_one(rows[row : row + 1])
            good.append(row)
        except PredictionError as exc:
            found.errors[row] = _reason(exc)
    if good:
        try:
            found.outputs[good] = predict(rows[good])
        except PredictionError as exc:
            found.errors.update(dict.fromkeys(good, _reason(exc)))


def _reason(exc: PredictionError) -> str:
    # What the engine said, without our remedy for a whole call.
    return f"the model failed on it: {error_line(exc.__cause__ or exc)}"
