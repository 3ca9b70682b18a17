"""Numbers of any kind become items; nulls and numbers too large are the fault of their rows."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fornada.errors import InputError
from fornada.formats.fitting import fit_items
from fornada.tensors import InputTensor


def fitted(array: Any, dtype: str = "float32", **options: Any) -> tuple[np.ndarray, dict[int, str]]:
    taken = InputTensor(name="x", dtype=dtype, shape=[2], **options)
    return fit_items(np.asanyarray(array), taken, model="m:1", where="inputs")


@pytest.mark.parametrize(
    ("array", "dtype", "rows", "errors"),
    [
        (np.array([[1, 2], [None, 4]], object), "int32", [[1, 2], [0, 4]], {1: "null"}),
        (np.array([[None, None]], object), "float32", [[0, 0]], {0: "null"}),
        (np.ma.masked_equal([[1, 2], [9, 4]], 9), "uint8", [[1, 2], [0, 4]], {1: "a masked value"}),
        (np.array([[1, 1e300], [2, 3]]), "float32", [[1, np.inf], [2, 3]], {0: "too large"}),
        (np.array([[1, 70_000]]), "float16", [[1, np.inf]], {0: "too large for float16"}),
        (np.array([[1, np.inf]]), "float32", [[1, np.inf]], {}),
        (np.array([[Decimal("1.5"), Fraction(1, 4)]], object), "float64", [[1.5, 0.25]], {}),
        (np.array([[True, np.float32(2)]], object), "float32", [[1, 2]], {}),
        (np.array([[2**70, 1]], object), "float64", [[2.0**70, 1]], {}),
        (np.array([[True, False]]), "uint8", [[1, 0]], {}),
        (np.array([[1, 0]]), "bool", [[True, False]], {}),
        (np.array([[1, 2]], np.longdouble), "bfloat16", [[1, 2]], {}),
    ],
)
def test_what_holds_numbers_becomes_items(
    array: Any, dtype: str, rows: list[list[float]], errors: dict[int, str]
) -> None:
    items, found = fitted(array, dtype)

    expected = np.array(rows, "float32" if dtype == "bfloat16" else dtype)
    np.testing.assert_array_equal(expected, items, strict=True)
    assert set(errors) == set(found)
    assert all(why in found[row] for row, why in errors.items())


def test_a_fill_stands_in_for_nulls_and_fails_no_row() -> None:
    for array in (np.array([[1, None]], object), np.ma.masked_equal([[1, 9]], 9)):
        items, errors = fitted(array, "int32", fill=7)

        assert ([[1, 7]], {}) == (items.tolist(), errors)


def test_nulls_are_nan_where_the_input_allows_it() -> None:
    items, errors = fitted(np.array([[1, None]], object), finite=False)

    np.testing.assert_array_equal(np.array([[1, np.nan]], np.float32), items)
    assert {} == errors
    # Integers have no NaN.
    assert {0: "null among its values"} == fitted([[1, None]], "int32", finite=False)[1]


def test_integers_beyond_every_float_are_infinite() -> None:
    items, _ = fitted(np.array([[1, 10**400]], object))

    np.testing.assert_array_equal(np.array([[1, np.inf]], np.float32), items, strict=True)


def test_dtypes_that_numpy_lacks_are_read() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")

    items, _ = fitted(np.array([[1.5, 2]], ml_dtypes.bfloat16))

    np.testing.assert_array_equal(np.array([[1.5, 2]], np.float32), items, strict=True)


@pytest.mark.parametrize(
    ("array", "dtype", "why"),
    [
        (np.array([[1, 2], [3, "x"]], object), "float32", "item 1 holds 'x', which is not numeric"),
        (np.array([[1, 1j]], object), "float32", "item 0 holds 1j"),
        (np.array([["a", "b"]]), "float32", "dtype <U1 is not numeric"),
        (np.array([[1, 2**70]], object), "int64", f"values from 1 to {2**70} do not fit int64"),
        (np.zeros(2, [("a", "f4")]), "float32", "items of shape"),
        (np.full((1, 2), "a", np.dtypes.StringDType()), "float32", "is not numeric"),
    ],
)
def test_what_holds_none_is_refused(array: Any, dtype: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        fitted(array, dtype)
