"""A tensor whose items are replaced: TensorFlow sees each time those that it holds."""

from typing import Any

import numpy as np
import pytest

from model_store.engines import keras_setup
from model_store.engines.keras_predict import TensorMemory

SHAPE = (3, 5)


@pytest.fixture(scope="module")
def tensorflow() -> Any:
    keras_setup.import_keras()
    import tensorflow as tf  # noqa: PLC0415 - seconds

    return tf


@pytest.fixture
def memory(tensorflow: Any, request: pytest.FixtureRequest) -> TensorMemory:
    signature = tensorflow.TensorSpec(SHAPE, getattr(request, "param", "float32"))
    return TensorMemory(signature, from_dlpack=tensorflow.experimental.dlpack.from_dlpack)


def _items(dtype: str, first: int) -> np.ndarray:
    return np.arange(first, first + 15).astype(dtype).reshape(SHAPE)


@pytest.mark.parametrize(
    ("memory", "dtype"), [(d, d) for d in ("uint8", "int32", "float32")], indirect=["memory"]
)
def test_a_function_computes_with_the_items_that_were_written_last(
    memory: TensorMemory, dtype: str, tensorflow: Any
) -> None:
    twice = tensorflow.function(lambda items: items + items).get_concrete_function(
        tensorflow.TensorSpec(SHAPE, dtype)
    )

    for first in (1, 7, 100):
        items = _items(dtype, first)
        assert (2 * items).tolist() == twice(memory.holding(items)).numpy().tolist()


def test_what_was_given_out_before_does_not_change(memory: TensorMemory, tensorflow: Any) -> None:
    same = tensorflow.function(lambda items: items).get_concrete_function(
        tensorflow.TensorSpec(SHAPE, "float32")
    )
    first = same(memory.holding(_items("float32", 1))).numpy()

    same(memory.holding(_items("float32", 50))).numpy()

    assert _items("float32", 1).tolist() == first.tolist()


def test_items_that_lie_at_any_address_are_taken(memory: TensorMemory) -> None:
    data = bytes(3) + _items("float32", 4).tobytes()

    tensor = memory.holding(np.frombuffer(data, np.float32, offset=3).reshape(SHAPE))

    assert _items("float32", 4).tolist() == tensor.numpy().tolist()


@pytest.mark.parametrize(
    "items",
    [
        pytest.param(np.zeros((1, 5), np.float32), id="fewer rows, which NumPy would repeat"),
        pytest.param(np.zeros((3, 4), np.float32), id="smaller"),
        pytest.param(np.zeros(SHAPE, np.float64), id="another dtype"),
    ],
)
def test_items_that_do_not_fit_are_refused(memory: TensorMemory, items: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"and the tensor is float32 \(3, 5\)"):
        memory.holding(items)
