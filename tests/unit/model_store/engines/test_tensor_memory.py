"""A tensor whose items are replaced: TensorFlow always sees the current ones."""

from typing import Any

import numpy as np
import pytest

from model_store.engines import keras_setup
from model_store.engines.tensor_memory import TensorMemory

SHAPE = (3, 5)


@pytest.fixture(scope="module")
def tensorflow() -> Any:
    keras_setup.import_keras()
    import tensorflow as tf  # noqa: PLC0415 - seconds

    return tf


@pytest.fixture
def memory(tensorflow: Any) -> TensorMemory:
    return _memory(tensorflow, "float32")


def _memory(tensorflow: Any, dtype: str) -> TensorMemory:
    signature = tensorflow.TensorSpec(SHAPE, dtype)
    return TensorMemory(signature, from_dlpack=tensorflow.experimental.dlpack.from_dlpack)


def _items(dtype: str, first: int) -> np.ndarray:
    return np.arange(first, first + 15).astype(dtype).reshape(SHAPE)


def test_a_function_computes_with_the_items_written_last(tensorflow: Any) -> None:
    for dtype in ("uint8", "int32", "float32"):
        memory = _memory(tensorflow, dtype)
        twice = tensorflow.function(lambda items: items + items).get_concrete_function(
            tensorflow.TensorSpec(SHAPE, dtype)
        )

        for first in (1, 7, 100):
            items = _items(dtype, first)
            assert (2 * items).tolist() == twice(memory.holding(items)).numpy().tolist()


def test_earlier_outputs_do_not_change(memory: TensorMemory, tensorflow: Any) -> None:
    same = tensorflow.function(lambda items: items).get_concrete_function(
        tensorflow.TensorSpec(SHAPE, "float32")
    )
    first = same(memory.holding(_items("float32", 1))).numpy()

    same(memory.holding(_items("float32", 50))).numpy()

    assert _items("float32", 1).tolist() == first.tolist()


def test_unaligned_items_are_accepted(memory: TensorMemory) -> None:
    data = bytes(3) + _items("float32", 4).tobytes()

    tensor = memory.holding(np.frombuffer(data, np.float32, offset=3).reshape(SHAPE))

    assert _items("float32", 4).tolist() == tensor.numpy().tolist()


def test_items_that_do_not_fit_are_refused(memory: TensorMemory) -> None:
    # NumPy would repeat the single row of the first.
    for shape, dtype in (((1, 5), "float32"), ((3, 4), "float32"), (SHAPE, "float64")):
        with pytest.raises(ValueError, match=r"and the tensor is float32 \(3, 5\)"):
            memory.holding(np.zeros(shape, dtype))
