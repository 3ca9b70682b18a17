"""Weights that are constants of the compiled predict call, and weights too large for that."""

from typing import Any

import numpy as np
import pytest

from model_store.engines import keras_predict, keras_setup
from model_store.engines.interface import Predict

from ....arrays import compile_predict

_TILE_ITEMS = 8
_ITEM_SHAPE = (6, 6, 1)


@pytest.fixture(scope="module")
def keras() -> Any:
    return keras_setup.import_keras()


@pytest.fixture
def model(keras: Any) -> Any:
    """A small network whose weights have all changed, as after training."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(_ITEM_SHAPE),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(2),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


def _compiled(model: Any, item_shape: tuple[int, ...] = _ITEM_SHAPE) -> Predict:
    return compile_predict(
        model, tile_items=_TILE_ITEMS, item_shape=item_shape, item_dtype="float32"
    )


def _tile(item_shape: tuple[int, ...] = _ITEM_SHAPE) -> Any:
    return np.random.default_rng(0).random((_TILE_ITEMS, *item_shape), np.float32)


def test_the_outputs_are_those_of_keras_predict(model: Any) -> None:
    expected = model.predict(_tile(), verbose=0)

    actual = _compiled(model)(_tile())

    np.testing.assert_allclose(expected, actual, rtol=0, atol=1e-6)


def test_a_compiled_call_keeps_its_weights(model: Any) -> None:
    predict = _compiled(model)
    before = predict(_tile())

    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))

    np.testing.assert_array_equal(before, predict(_tile()))


def test_weights_too_large_to_be_constant_are_read_by_each_call(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    constant_size = keras_predict.constant_bytes(model)
    monkeypatch.setattr(keras_predict, "MOST_CONSTANT_BYTES", constant_size - 1)
    predict = _compiled(model)
    before = predict(_tile())

    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))

    assert 0 == keras_predict.constant_bytes(model)
    assert 0 < np.max(np.abs(before - predict(_tile())))


def test_weights_count_by_their_dtype(keras: Any) -> None:
    layers = [keras.layers.Dense(3, dtype="float64"), keras.layers.Dense(5, dtype="bfloat16")]
    model = keras.Sequential([keras.Input((2,)), *layers])

    found = keras_predict.constant_bytes(model)

    assert 8 * (2 * 3 + 3) + 2 * (3 * 5 + 5) == found


@pytest.mark.parametrize("most_bytes", [0, 2**20])
def test_a_call_leaves_no_state_for_the_next(
    keras: Any, monkeypatch: pytest.MonkeyPatch, most_bytes: int
) -> None:
    # given a layer that continues where its last call ended
    monkeypatch.setattr(keras_predict, "MOST_CONSTANT_BYTES", most_bytes)
    layers = [keras.layers.LSTM(3, stateful=True), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input(batch_shape=(_TILE_ITEMS, 5, 4)), *layers])
    predict = _compiled(model, (5, 4))

    first, second = predict(_tile((5, 4))), predict(_tile((5, 4)))

    np.testing.assert_array_equal(first, second)
