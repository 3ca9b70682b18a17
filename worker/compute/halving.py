"""Predict rows whose call failed: find the rows at fault, and predict the others."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fornada.errors import PredictionError, error_line
from fornada.formats.rows import Rows, blank_rows
from fornada.jobs.items import Predicted

PredictRows = Callable[[Rows], Rows]


def predict_halves(
    predict: PredictRows,
    rows: Rows,
    error: PredictionError,
    *,
    predict_one: PredictRows,
    shape_is_open: bool,
) -> Predicted:
    """Predict `rows`, on all of which at once `predict` failed with `error`.

    One bad row among n is halved down to in about 2 log2(n) calls. If that does not find all, each
    row left is tried alone: with many bad rows, the whole costs that many calls, n calls of a
    single row, and one more.

    Args:
        predict: Predicts up to as many rows as there are here.
        rows: Of a call that failed.
        error: Why they failed together.
        predict_one: Predicts a single row, to learn whether it fails; its bytes do not count.
        shape_is_open: Whether items of this shape may be at fault, all of them.

    Raises:
        PredictionError: The model fails on blank rows too, so that the rows are not the cause; or
            on each of them.
    """
    halving = _Halving(predict, rows)
    try:
        # What partial tiles are padded with.
        predict(rows[:1].padded(2)[1:])
    except PredictionError:
        if not shape_is_open:
            # Its text, which ends the job and is logged, quotes no row of the caller's.
            raise
        return Predicted(None, dict.fromkeys(range(len(rows)), _reason(error)))
    calls_left = 2 * len(rows).bit_length()
    failing = [(0, len(rows), error)]
    while failing and calls_left > 0:
        first, count, why = failing.pop()
        if count == 1:
            halving.errors[first] = _reason(why)
            continue
        calls_left -= 2
        half = count // 2
        for start, end in ((first, first + half), (first + half, first + count)):
            try:
                halving.predict(np.arange(start, end))
            except PredictionError as exc:
                failing.append((start, end - start, exc))
    left = [row for first, count, _ in failing for row in range(first, first + count)]
    halving.predict_good(left, predict_one=predict_one)
    return halving.predicted()


class _Halving:
    """What is known of the rows so far."""

    def __init__(self, predict: PredictRows, rows: Rows) -> None:
        self._predict = predict
        self._rows = rows
        self._found: list[tuple[NDArray[np.int64], Rows]] = []
        self.errors: dict[int, str] = {}

    def predict(self, wanted: NDArray[np.int64]) -> None:
        """Predict some rows."""
        self._found.append((wanted, self._predict(self._rows[wanted])))

    def predict_good(self, left: list[int], *, predict_one: PredictRows) -> None:
        """Predict those of the rows `left` that do not fail alone."""
        good = []
        for row in left:
            try:
                predict_one(self._rows[row : row + 1])
                good.append(row)
            except PredictionError as exc:
                self.errors[row] = _reason(exc)
        if good:
            try:
                self.predict(np.array(good))
            except PredictionError as exc:
                self.errors.update(dict.fromkeys(good, _reason(exc)))

    def predicted(self) -> Predicted:
        """The outputs of all rows, blank where one failed."""
        if not self._found:
            return Predicted(None, self.errors)
        some = self._found[0][1]
        outputs = blank_rows(len(self._rows), some.shapes, [array.dtype for array in some.arrays])
        for wanted, found in self._found:
            for into, array in zip(outputs.arrays, found.arrays, strict=True):
                into[wanted] = array
        return Predicted(outputs, self.errors)


def _reason(exc: PredictionError) -> str:
    # What the engine said, without our remedy for a whole call.
    return f"the model failed on it: {error_line(exc.__cause__ or exc)}"
