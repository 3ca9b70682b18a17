"""What a Keras model may take and give on TensorFlow: dtypes, open sizes, single numbers."""

from typing import Any, get_args

import numpy as np
import pytest

from fornada.errors import PredictionError
from fornada.tensors import Dtype
from model_store.engines import keras_file, keras_setup

from ....arrays import compile_predict

_ROWS = 4
_DTYPES = [dtype for dtype in get_args(Dtype) if dtype != "string"]


@pytest.fixture(scope="module")
def keras() -> Any:
    keras = keras_setup.import_keras()
    keras.utils.set_random_seed(1)
    return keras


@pytest.fixture(scope="module")
def of_any_length(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(10, 4),
            layers.LSTM(3),
            layers.Dense(2, activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def of_any_size(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.DepthwiseConv2D(3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )


def _predict(model: Any, **facts: Any) -> Any:
    taken = model.inputs[0]
    return compile_predict(
        model,
        tile_items=_ROWS,
        item_shape=tuple(taken.shape[1:]),
        item_dtype=facts.pop("item_dtype", str(taken.dtype)),
        **facts,
    )


def _of_dtype(keras: Any, dtype: str) -> tuple[Any, np.ndarray]:
    """A model, and items with the least and the largest numbers of their dtype."""
    items = keras.Input((3,), dtype=dtype)
    scaled = keras.ops.cast(items, "float32") / 100
    model = keras.Model(items, keras.layers.Dense(2)(scaled))
    arrays = np.dtype("float32" if dtype == "bfloat16" else dtype)
    numbers = np.arange(_ROWS * 3).reshape(_ROWS, 3).astype(arrays)
    if arrays.kind in "iu":
        limits = np.iinfo(arrays.name)
        numbers[0] = limits.min, limits.max, 1
    return model, numbers


@pytest.mark.parametrize("dtype", _DTYPES)
def test_items_of_every_dtype_give_what_keras_gives(keras: Any, dtype: str) -> None:
    model, items = _of_dtype(keras, dtype)
    expected = model(keras.ops.cast(items, dtype)).numpy()

    predict = _predict(model)

    # Twice, with other items between: the memory of a tile is used again.
    for _ in range(2):
        outputs = predict(items)
        assert np.float32 == outputs.dtype
        np.testing.assert_allclose(expected, outputs, rtol=1e-5)
        predict(np.zeros_like(items))


@pytest.mark.parametrize("dtype", ["bool", "uint16", "float16", "bfloat16", "float64"])
def test_items_of_every_kind_of_dtype_are_exact_in_float64(keras: Any, dtype: str) -> None:
    items = keras.Input((3,), dtype=dtype)
    model = keras.Model(items, keras.layers.Dense(2)(keras.layers.Rescaling(0.01)(items)))
    numbers = _of_dtype(keras, dtype)[1]
    exact = keras_file.load_model(keras_file.dump_model(model), where="m", dtype="float64")

    outputs = _predict(exact, item_dtype=dtype, exact=True)(numbers)

    kernel, bias = (weight.numpy().astype(np.float64) for weight in model.weights)
    expected = (numbers.astype(np.float64) * 0.01 @ kernel + bias).astype(np.float32)
    np.testing.assert_allclose(expected, outputs, rtol=1e-6)


def test_one_number_an_item_has_no_axis_of_its_own(keras: Any) -> None:
    items = keras.Input((3,))
    model = keras.Model(items, keras.ops.squeeze(keras.layers.Dense(1)(items), -1))
    numbers = np.arange(12, dtype=np.float32).reshape(_ROWS, 3)

    outputs = _predict(model)(numbers)

    assert (_ROWS,) == outputs.shape
    np.testing.assert_allclose(model(numbers).numpy(), outputs, rtol=1e-6)


def test_one_function_takes_items_of_any_size(
    keras: Any, of_any_length: Any, of_any_size: Any
) -> None:
    rng = np.random.default_rng(0)
    tokens = [rng.integers(0, 10, (rows, length), np.int32) for rows in (1, 5) for length in (1, 7)]
    images = [
        rng.random((rows, height, height + 3, 3)).astype(np.float32)
        for rows in (1, 2)
        for height in (8, 13)
    ]
    for model, given in ((of_any_length, tokens), (of_any_size, images)):
        predict = _predict(model)
        first = [predict(items) for items in given]

        for items, outputs in zip(given, first, strict=True):
            np.testing.assert_allclose(model(items).numpy(), outputs, rtol=1e-5, atol=1e-6)
        # in another order, other rows beside them
        for items, outputs in reversed(list(zip(given, first, strict=True))):
            beside = items[:1].repeat(len(items), axis=0)
            assert outputs[:1].tobytes() == predict(beside)[:1].tobytes()


def test_a_size_that_is_too_small_fails_and_leaves_no_garbage(of_any_size: Any) -> None:
    predict = _predict(of_any_size)

    for side in range(1, 8):
        with pytest.raises(PredictionError, match=rf"of shape \[{side}, {side}, 3\]: Computed"):
            predict(np.ones((2, side, side, 3), np.float32))
    assert np.isfinite(predict(np.ones((2, 8, 8, 3), np.float32))).all()


def test_a_token_outside_of_the_table_fails(of_any_length: Any) -> None:
    predict = _predict(of_any_length)

    with pytest.raises(PredictionError) as failure:
        predict(np.array([[1, 10, 2, 3]], np.int32))

    # and it is said without the names of TensorFlow's nodes
    assert "int32 (1, 4): indices[0,1] = 10 is not in [0, 10); check" in str(failure.value)
