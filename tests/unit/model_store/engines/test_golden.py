"""A golden batch accepts the model that made it and refuses any other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fornada.errors import ModelRefusedError, ModelUnusableError
from fornada.formats.rows import Rows
from model_store.engines import golden

from ....arrays import PredictArray, on_rows, predict_items

_TILE_ITEMS = 4
_ITEMS = np.arange(33, dtype=np.uint8).reshape(11, 3)


def _predict(tile: np.ndarray) -> np.ndarray:
    assert (_TILE_ITEMS, 3) == tile.shape
    return tile / np.float32(33)


def check_golden(
    predict: PredictArray, *, inputs: np.ndarray, outputs: np.ndarray, **facts: Any
) -> float:
    return golden.check_golden(
        on_rows(predict), inputs=Rows(inputs), outputs=Rows(outputs), **facts
    )


def test_the_batch_of_the_same_model_is_accepted() -> None:
    outputs = predict_items(_predict, _ITEMS, tile_items=_TILE_ITEMS)

    difference = check_golden(
        _predict, inputs=_ITEMS, outputs=outputs, tile_items=_TILE_ITEMS, where="m:1"
    )

    assert 0.0 == difference


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda outputs: outputs + 0.001, "m:1 differs by 0.001"),
        (lambda outputs: outputs * np.float32("nan"), "m:1 differs by nan"),
        (lambda outputs: outputs[:, :2], r"outputs of shape \(11, 3\)"),
    ],
)
def test_other_outputs_are_refused_with_the_figures(
    change: Callable[[np.ndarray], np.ndarray], fact: str
) -> None:
    outputs = change(predict_items(_predict, _ITEMS, tile_items=_TILE_ITEMS))

    with pytest.raises(ModelRefusedError, match=fact):
        check_golden(_predict, inputs=_ITEMS, outputs=outputs, tile_items=_TILE_ITEMS, where="m:1")


def test_nan_and_infinity_are_accepted_where_the_golden_batch_has_them() -> None:
    outputs = predict_items(_predict, _ITEMS, tile_items=_TILE_ITEMS)
    outputs[1], outputs[2] = np.nan, np.inf

    def predict(tile: np.ndarray) -> np.ndarray:
        rows = _predict(tile)
        rows[tile[:, 0] == _ITEMS[1, 0]], rows[tile[:, 0] == _ITEMS[2, 0]] = np.nan, np.inf
        return rows

    difference = check_golden(
        predict, inputs=_ITEMS, outputs=outputs, tile_items=_TILE_ITEMS, where="m:1"
    )

    assert 0.0 == difference


def test_a_golden_batch_of_one_number_an_item_is_one_column() -> None:
    outputs = predict_items(_predict, _ITEMS, tile_items=_TILE_ITEMS)[:, 0]

    def predict(tile: np.ndarray) -> np.ndarray:
        return _predict(tile)[:, :1]

    difference = check_golden(
        predict, inputs=_ITEMS, outputs=outputs, tile_items=_TILE_ITEMS, where="m:1"
    )

    assert 0.0 == difference


def test_other_outputs_are_the_models_fault_only_on_what_made_its_golden_batch() -> None:
    assert ModelUnusableError is golden.refusal_by("jax", golden_framework="jax")
    assert ModelRefusedError is golden.refusal_by("jax", golden_framework="tensorflow")
    assert ModelRefusedError is golden.refusal_by("openvino", golden_framework=None)
