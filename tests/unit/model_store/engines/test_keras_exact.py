"""Models in float64, rounded once: the same bytes in any batch, or a refusal."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fornada.errors import ModelRefusedError
from model_store.engines import keras_file, keras_setup

from ....arrays import PredictArray, compile_predict, predict_items

_SHAPE = (6, 6, 1)
_TILES = (1, 3, 16, 64)


def _network(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(_SHAPE, dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, activation="relu", padding="same"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(40, activation="tanh"),
            layers.Dropout(0.5),
            layers.Dense(5, activation="softmax"),
        ]
    )


def _mixed(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(_SHAPE, dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(40, activation="relu", dtype="mixed_bfloat16"),
            layers.Dense(5, activation="softmax", dtype="float32"),
        ]
    )


def _of_floats(keras: Any) -> Any:
    layers = keras.layers
    # Computes in the dtype of its input.
    first = layers.LayerNormalization()
    return keras.Sequential([keras.Input(_SHAPE), first, layers.Flatten(), layers.Dense(5)])


def _divided(keras: Any) -> Any:
    pixels = keras.Input(_SHAPE, dtype="uint8")
    return keras.Model(pixels, keras.layers.Dense(5)(keras.layers.Flatten()(pixels / 255)))


def _saved(build: Callable[[Any], Any]) -> bytes:
    keras = keras_setup.import_keras()
    keras.utils.set_random_seed(3)
    return keras_file.dump_model(build(keras))


def _compiled(model: Any, tile_items: int, *, exact: bool) -> PredictArray:
    return compile_predict(
        model, tile_items=tile_items, item_shape=_SHAPE, item_dtype="uint8", exact=exact
    )


@pytest.fixture(scope="module")
def artifact() -> bytes:
    return _saved(_network)


@pytest.fixture(scope="module")
def exact(artifact: bytes) -> dict[int, PredictArray]:
    """The network in float64, compiled for each tile."""
    model = keras_file.load_model(artifact, where="m", dtype="float64")
    return {tile: _compiled(model, tile, exact=True) for tile in _TILES}


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 70), data=st.data())
def test_every_batch_size_and_order_gives_the_same_bytes(
    exact: dict[int, PredictArray], seed: int, count: int, data: st.DataObject
) -> None:
    items = np.random.default_rng(seed).integers(0, 256, (count, *_SHAPE), np.uint8)
    order = np.array(data.draw(st.permutations(range(count))))

    outputs = {tile: predict_items(exact[tile], items, tile_items=tile) for tile in _TILES}
    shuffled = predict_items(exact[16], items[order], tile_items=16)

    assert 1 == len({found.tobytes() for found in outputs.values()})
    assert outputs[16][order].tobytes() == shuffled.tobytes()


def test_float32_is_close_to_it(artifact: bytes, exact: dict[int, PredictArray]) -> None:
    items = np.random.default_rng(1).integers(0, 256, (64, *_SHAPE), np.uint8)
    near = _compiled(keras_file.load_model(artifact, where="m"), 64, exact=False)(items)

    outputs = exact[64](items)

    assert np.float32 == outputs.dtype
    assert 0 < np.max(np.abs(near - outputs)) < 1e-6


def test_the_weights_keep_their_values(artifact: bytes) -> None:
    stored = keras_file.load_model(artifact, where="m").get_weights()

    weights = keras_file.load_model(artifact, where="m", dtype="float64").get_weights()

    assert {np.dtype(np.float64)} == {array.dtype for array in weights}
    assert all(map(np.array_equal, stored, weights))


@pytest.mark.parametrize(("build", "dtype"), [(_mixed, "uint8"), (_of_floats, "float32")])
def test_mixed_precision_and_float32_inputs_are_computed_in_float64_too(
    build: Callable[[Any], Any], dtype: str
) -> None:
    model = keras_file.load_model(_saved(build), where="m", dtype="float64")
    items = np.random.default_rng(1).integers(0, 256, (64, *_SHAPE)).astype(dtype)

    found = {
        predict_items(
            compile_predict(
                model, tile_items=tile, item_shape=_SHAPE, item_dtype=dtype, exact=True
            ),
            items,
            tile_items=tile,
        ).tobytes()
        for tile in _TILES
    }

    assert 1 == len(found)


def test_a_model_with_an_operation_that_stays_in_float32_is_refused_by_name() -> None:
    model = keras_file.load_model(_saved(_divided), where="m", dtype="float64")

    with pytest.raises(
        ModelRefusedError, match=r"truediv computes in less than float64; .*without --exact"
    ):
        _compiled(model, 4, exact=True)
