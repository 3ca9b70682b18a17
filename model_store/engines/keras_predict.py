"""One compiled predict call of a Keras model, on TensorFlow."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import (
    ModelRefusedError,
    PredictionError,
    error_line,
)
from fornada.formats.items import Array
from model_store.engines.interface import Predict
from model_store.engines.keras_exact import check_float64
from model_store.engines.keras_setup import _import_tensorflow, import_keras

#: 0.2 MB of a small CNN, 3 MB of a MobileNetV2 without its weights; and of constants.
_KEPT_OF_A_GRAPH_BYTES = 4 * 2**20
_KEPT_COPIES = 4


def forget_dropped_models() -> None:
    """Let go of what TensorFlow prepared for the calls of models that are gone.

    It keeps that for good: see `kept_bytes`. Models that are still there are prepared once more by
    their next call, with the same outputs; calls that run meanwhile go on.
    """
    # Of a new seed nothing prepared knows, so TensorFlow forgets all of it; predict needs none.
    _import_tensorflow().random.set_seed(0)


def kept_bytes(model: Any) -> int:
    """What TensorFlow keeps, at most, of a call of `compile_predict` for a model that is gone."""
    return _KEPT_OF_A_GRAPH_BYTES + _KEPT_COPIES * constant_bytes(model)


def compile_predict(
    model: Any,
    *,
    tile_items: int,
    item_shape: Sequence[int],
    item_dtype: str,
    exact: bool = False,
) -> Predict:
    """Predict as one compiled function at one fixed signature, traced here and never again.

    The function takes item_dtype [tile_items, *item_shape] and returns float32 [tile_items,
    outputs]. It may be called from many threads, and computes in them; each has a tile's memory
    copied. A row's bytes do not depend on the other rows of its tile.

    Args:
        model: From `load_model`.
        tile_items: Rows of every call.
        item_shape: Shape of one item.
        item_dtype: dtype of the items.
        exact: Refuse a model that computes in less than float64 anywhere.

    Raises:
        ModelRefusedError: The model does not take such items, has other outputs, or is not exact.
    """
    keras, tensorflow = import_keras(), _import_tensorflow()
    signature = tensorflow.TensorSpec([tile_items, *item_shape], item_dtype)

    def forward(items: Any) -> Any:
        with constant_weights(model, keras, tensorflow):
            outputs = model(items, training=False)
        return tensorflow.cast(outputs, tensorflow.float32)

    takes = f"{item_dtype} [{tile_items}, {', '.join(map(str, item_shape))}]"
    try:
        compiled = tensorflow.function(forward, autograph=False).get_concrete_function(signature)
        shape = tuple(compiled.structured_outputs.shape)
    except Exception as exc:
        # Layers raise what they like on input that does not fit.
        raise ModelRefusedError(
            f"the model does not take {takes} ({error_line(exc)}); publish it with the item shape "
            "and dtype of its Input layer"
        ) from exc
    check_output_shape(shape, tile_items=tile_items, takes=takes)
    if exact:
        check_float64(compiled, takes=takes)
    return predict_call(compiled, signature, tensorflow)


def check_output_shape(shape: Sequence[int | None], *, tile_items: int, takes: str) -> None:
    """Check that a model gives one row of numbers an item.

    Raises:
        ModelRefusedError: It does not; `takes` says for what.
    """
    if len(shape) != 2 or shape[0] != tile_items or shape[1] is None:  # noqa: PLR2004 - rows, outputs
        raise ModelRefusedError(
            f"the model gives outputs of shape {tuple(shape)} for {takes}; it must give one row of "
            "numbers an item"
        )


def predict_call(compiled: Any, signature: Any, tensorflow: Any) -> Predict:
    """A predict call for many threads, each of which has a tile's memory copied.

    Args:
        compiled: A `tensorflow.ConcreteFunction` of one tensor, which gives one.
        signature: The tensor, as a `tensorflow.TensorSpec`.
        tensorflow: The module.
    """
    call = _call(compiled, tensorflow)
    idle: list[TensorMemory] = []

    def predict(tile: Array) -> NDArray[np.float32]:
        try:
            memory = idle.pop()
        except IndexError:
            memory = TensorMemory(signature, from_dlpack=tensorflow.experimental.dlpack.from_dlpack)
        try:
            outputs: NDArray[np.float32] = call(memory.holding(tile)).numpy()
        except tensorflow.errors.ResourceExhaustedError as exc:
            # The device's allocator does not recover; the process is of no more use.
            raise MemoryError(error_line(exc)) from exc
        except (tensorflow.errors.OpError, ValueError, TypeError) as exc:
            raise PredictionError(
                f"predict failed on {tile.dtype} {tile.shape}: {error_line(exc)}; check the "
                "worker's memory and the model's input"
            ) from exc
        finally:
            idle.append(memory)
        return outputs

    return predict


def _call(compiled: Any, tensorflow: Any) -> Callable[[Any], Any]:
    """`compiled`, run by the thread that calls it (ADR 0013)."""
    if tensorflow.config.list_physical_devices("GPU"):
        # As one operation it would be placed as a whole.
        return compiled  # type: ignore[no-any-return]
    operation = tensorflow.raw_ops.StatefulPartitionedCall
    captured, dtypes = list(compiled.captured_inputs), [compiled.structured_outputs.dtype]

    def call(tensor: Any) -> Any:
        (outputs,) = operation(args=[tensor, *captured], Tout=dtypes, f=compiled)
        return outputs

    return call


#: What TensorFlow takes for aligned (EIGEN_MAX_ALIGN_BYTES); it ends the process on other memory.
_ALIGNED_BYTES = 64


class TensorMemory:
    """A tensor of a fixed shape and dtype whose items can be replaced.

    Of an array that it is given, TensorFlow makes a copy, in new memory each time: 0.26 ms for
    1,024 images of 28x28. Here it is 0.03 ms.

    Args:
        signature: A `tensorflow.TensorSpec`.
        from_dlpack: `tensorflow.experimental.dlpack.from_dlpack`.
    """

    def __init__(self, signature: Any, *, from_dlpack: Callable[[Any], Any]) -> None:
        dtype, shape = np.dtype(signature.dtype.as_numpy_dtype), tuple(signature.shape)
        size_bytes = math.prod(shape) * dtype.itemsize
        memory = np.empty(size_bytes + _ALIGNED_BYTES, np.uint8)
        start = -memory.ctypes.data % _ALIGNED_BYTES
        self._items: Array = memory[start : start + size_bytes].view(dtype).reshape(shape)
        self._tensor = from_dlpack(self._items.__dlpack__())

    def holding(self, items: Array) -> Any:
        """The tensor, with these items in it until the next call.

        Raises:
            ValueError: They have another shape or dtype.
        """
        if (items.shape, items.dtype) != (self._items.shape, self._items.dtype):
            raise ValueError(
                f"{items.dtype} {items.shape}, and the tensor is {self._items.dtype} "
                f"{self._items.shape}"
            )
        np.copyto(self._items, items)
        return self._tensor


#: TensorFlow takes 4 times as much for good, and 11 times while it prepares the graph.
MOST_CONSTANT_BYTES = 24 * 2**20


def constant_bytes(model: Any) -> int:
    """How much of the model's weights is made constant: all, or nothing where it is too much."""
    size_bytes = sum(math.prod(w.shape) * w.value.dtype.size for w in model.weights)
    return size_bytes if size_bytes <= MOST_CONSTANT_BYTES else 0


def constant_weights(model: Any, keras: Any, tensorflow: Any) -> Any:
    """A context in which calls of the model are traced with its weights as constants (ADR 0015).

    Nor do such calls change the model: what its layers keep of a call is gone with it.
    """
    weights = model.weights if constant_bytes(model) else []
    # In the graph that is being traced they have no values.
    with tensorflow.init_scope():
        values = [(weight, weight.numpy()) for weight in weights]
    return keras.StatelessScope(values)
