"""A compiled predict call keeps none of the graphs that it was traced in."""

import gc

import numpy as np

from model_store.engines import keras_setup

from ....arrays import compile_predict


def test_a_compiled_call_leaves_no_graph_in_memory() -> None:
    # given activations that bring a gradient, in a loop too
    keras = keras_setup.import_keras()
    model = keras.Sequential(
        [
            keras.Input((4, 2)),
            keras.layers.SimpleRNN(3, activation="silu"),
            keras.layers.Dense(5, activation="silu"),
        ]
    )
    items = np.random.default_rng(0).random((8, 4, 2), np.float32)
    before = _graph_count()

    # when it is compiled, and called
    predict = compile_predict(model, tile_items=8, item_shape=(4, 2), item_dtype="float32")
    found = predict(items)

    # then it works, without its graph and those of the loop
    assert before == _graph_count()
    np.testing.assert_allclose(model(items), found, rtol=0, atol=1e-6)


def _graph_count() -> int:
    gc.collect()
    return sum(type(found).__name__.endswith("FuncGraph") for found in gc.get_objects())
