"""The cells of a column, and as JSON values."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Digits that tell any two float32 apart.
_MOST_DIGITS = 9
#: With so many digits, these are whole numbers below 2**53 by powers of ten up to 10**22.
_LEAST_USUAL, _BEYOND_USUAL = 1e-12, 1e6


class Cells(NamedTuple):
    """The cells of a column."""

    #: An array [items, *shape of a cell], NaN for no number; else a list with `None` for no value.
    values: NDArray[Any] | list[Any]
    #: Bool [items]: which cells of an array have no value; `None` if NaN says so.
    missing: NDArray[np.bool_] | None = None
    #: What `values` are numbers of, for cells of text of which there are few.
    texts: Sequence[str] | None = None
    #: Int64 [items]: each cell is a list of that many of `values`, which are one after the other.
    lengths: NDArray[np.int64] | None = None


def plain_cells(cells: Cells) -> list[Any]:
    """The cells as JSON values, `None` for NaN and infinity."""
    values = cells.values
    if not isinstance(values, np.ndarray):
        return [plain(cell) if isinstance(cell, np.ndarray) else cell for cell in values]
    if cells.texts is None:
        found: list[Any] = plain(values)
    else:
        found = np.array(cells.texts, object)[values].tolist()
    if cells.lengths is not None:
        ends = np.cumsum(cells.lengths)
        starts = (ends - cells.lengths).tolist()
        found = [found[start:end] for start, end in zip(starts, ends.tolist(), strict=True)]
    if cells.missing is not None:
        for row in np.flatnonzero(cells.missing).tolist():
            found[row] = None
    return found


def plain(numbers: NDArray[Any]) -> Any:
    """Nested lists of the shortest numbers that read back the same; `None` for NaN and infinity."""
    if numbers.dtype.kind != "f":
        return numbers.tolist()
    values = numbers if numbers.dtype == np.float64 else _shortest(numbers)
    finite = np.isfinite(values)
    if not finite.all():
        values = values.astype(object)
        values[~finite] = None
    return values.tolist()


def _shortest(numbers: NDArray[Any]) -> NDArray[np.float64]:
    """Each number as the float64 that is written with the fewest digits and reads back the same.

    That is what its text says; most are found without texts, which cost several times more.
    """
    singles = numbers.ravel()
    found = singles.astype(np.float64)
    sizes = np.abs(found)
    is_usual = (sizes >= _LEAST_USUAL) & (sizes < _BEYOND_USUAL)
    left = np.flatnonzero(is_usual)
    first_digits = np.floor(np.log10(sizes[left])).astype(np.int64)
    for digits in range(1, _MOST_DIGITS + 1):
        # Both are exact, so that their quotient is the float64 nearest to those digits.
        scale = 10.0 ** np.maximum(digits - 1 - first_digits, 0)
        rounded = np.rint(found[left] * scale) / scale
        is_same = rounded.astype(singles.dtype) == singles[left]
        found[left[is_same]] = rounded[is_same]
        left, first_digits = left[~is_same], first_digits[~is_same]
    left = np.concatenate([left, np.flatnonzero(~is_usual & (sizes > 0))])
    found[left] = singles[left].astype(str).astype(np.float64)
    return found.reshape(numbers.shape)
