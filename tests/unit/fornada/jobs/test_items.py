"""Items of several shapes: grouped to be predicted, and their outputs in the shard's order."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fornada.errors import PredictionError
from fornada.formats.rows import Rows
from fornada.jobs.items import MAX_OPEN_ITEM_NUMBERS, ItemGroup, Items, Predicted
from fornada.records import ItemError
from fornada.tensors import InputTensor, OutputTensor


def takes(*shape: int | None, dtype: Any = "float32", **facts: Any) -> InputTensor:
    return InputTensor(name="x", dtype=dtype, shape=list(shape), **facts)


def gives(*shape: int, **facts: Any) -> OutputTensor:
    return OutputTensor(name="y", shape=list(shape), kind="values", **facts)


def summed(group: ItemGroup) -> Predicted:
    """For each row its sum and its length."""
    rows = group.rows.only
    sums = rows.sum(axis=1, dtype=np.float32)
    return Predicted(Rows(np.stack([sums, np.full_like(sums, rows.shape[1])], axis=1)), {})


@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_items_of_several_shapes_get_their_outputs_in_order(lengths: list[int]) -> None:
    # given items of several lengths, of which those of length 0 cannot be read
    singles = [
        (n, Rows(np.full((1, length), n, np.float32)) if length else "broken")
        for n, length in enumerate(lengths)
    ]

    items = Items.of_singles(singles, takes=[takes(None)])
    (outputs,), errors = items.placed(
        [summed(group) for group in items.groups], gives=[gives(2)], item_count=len(lengths)
    )

    expected = [
        (n * length, length) if length else (np.nan, np.nan) for n, length in enumerate(lengths)
    ]
    np.testing.assert_array_equal(np.array(expected, np.float32), outputs)
    assert [n for n, length in enumerate(lengths) if not length] == [e.index for e in errors]
    assert len({length for length in lengths if length}) == len(items.groups)


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ((4, 4), r"it has shape [4, 4], and the model takes [null, null, 3]"),
        ((4, 4, 1), r"it has shape [4, 4, 1], and the model takes [null, null, 3]"),
        ((0, 4, 3), r"it has shape [0, 4, 3], and the model takes [null, null, 3]"),
        (
            (2**13, 2**13, 3),
            f"it has shape [8192, 8192, 3], over {MAX_OPEN_ITEM_NUMBERS} numbers; make it smaller",
        ),
    ],
)
def test_an_item_that_the_model_does_not_take_fails_alone(shape: tuple[int, ...], why: str) -> None:
    # Takes no memory.
    misfit = np.broadcast_to(np.uint8(0), shape)
    good = np.zeros((4, 5, 3), np.uint8)

    taken = [takes(None, None, 3, dtype="uint8")]
    items = Items.of_singles(
        [(0, Rows(misfit[np.newaxis])), (1, Rows(good[np.newaxis]))], takes=taken
    )

    assert [ItemError(index=0, reason=why)] == items.errors
    assert [[1]] == [group.positions.tolist() for group in items.groups]
    # as in an array of such items alone
    array = np.broadcast_to(np.uint8(0), (2, *shape))
    assert [ItemError(index=n, reason=why) for n in range(2)] == Items.of_columns(
        [array], takes=taken
    ).errors


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("flags", "kept", "failed"),
    [
        ({}, [1.0], [1, 2]),
        ({"finite": False}, [1.0, np.nan, np.inf], []),
        ({"fill": -1.0}, [1.0, -1.0], [2]),
        ({"fill": -1.0, "finite": False}, [1.0, -1.0, np.inf], []),
    ],
)
def test_the_input_says_what_becomes_of_nan_and_infinity(
    dtype: str, flags: dict[str, Any], kept: list[float], failed: list[int]
) -> None:
    array = np.array([[1.0], [np.nan], [np.inf]], dtype)

    items = Items.of_columns([array], takes=[takes(1, dtype=dtype, **flags)])

    np.testing.assert_array_equal(np.array(kept, dtype)[:, np.newaxis], items.groups[0].rows.only)
    assert np.dtype(dtype) == items.groups[0].rows.only.dtype
    assert failed == [error.index for error in items.errors]


def test_the_output_says_whether_nan_is_a_failure() -> None:
    items = Items.of_columns([np.zeros((2, 1), np.float32)], takes=[takes(1)])
    predicted = [Predicted(Rows(np.array([[1.0], [np.nan]], np.float32)), {})]

    _, failed = items.placed(predicted, gives=[gives(1)], item_count=2)
    (outputs,), allowed = items.placed(predicted, gives=[gives(1, finite=False)], item_count=2)

    assert [ItemError(index=1, reason="the model gave NaN")] == failed
    assert [] == allowed
    np.testing.assert_array_equal([[1.0], [np.nan]], outputs)


def test_a_number_an_item_is_an_output_of_no_axes() -> None:
    items = Items.of_columns([np.zeros((3, 2), np.bool_)], takes=[takes(2, dtype="bool")])

    (outputs,), _ = items.placed(
        [Predicted(Rows(np.ones(3, np.float32)), {})], gives=[gives()], item_count=3
    )

    assert (3,) == outputs.shape


def test_another_number_of_outputs_is_the_models_fault() -> None:
    items = Items.of_columns([np.zeros((3, 2), np.float32)], takes=[takes(2)])

    with pytest.raises(PredictionError, match=r"gives \[3\] an item, and its manifest says \[2\]"):
        items.placed(
            [Predicted(Rows(np.zeros((3, 3), np.float32)), {})], gives=[gives(2)], item_count=3
        )


def test_a_range_of_items_counts_from_its_first() -> None:
    singles = [
        (n, Rows(np.full((1, 1 + n % 2), n, np.float32)) if n != 3 else "broken") for n in range(6)
    ]
    items = Items.of_singles(singles, takes=[takes(None)])

    part = items.between(2, 3)

    assert [(0, [2.0]), (2, [4.0])] == [
        (position, row.tolist())
        for group in part.groups
        for position, row in zip(group.positions.tolist(), group.rows.only, strict=True)
    ]
    assert [ItemError(index=1, reason="broken")] == part.errors


def test_items_that_failed_before_are_not_predicted() -> None:
    items = Items.of_columns([np.array([[0.0], [np.nan], [2.0]], np.float32)], takes=[takes(1)])

    left = items.without([ItemError(index=1, reason="null"), ItemError(index=2, reason="null")])

    assert [[0]] == [group.positions.tolist() for group in left.groups]
    assert ["null", "null"] == [error.reason for error in left.errors]
    assert [] == items.without([ItemError(index=n, reason="null") for n in range(3)]).groups
