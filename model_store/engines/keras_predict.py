"""The compiled predict call of a Keras model on TensorFlow."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import ModelRefusedError, error_line
from fornada.formats.items import Array
from fornada.tensors import array_dtype
from model_store.engines.interface import Predict
from model_store.engines.keras_exact import check_float64
from model_store.engines.keras_graph import forget_gradients, without_graph
from model_store.engines.keras_setup import call_model, import_keras, import_tensorflow
from model_store.engines.open_sizes import with_checked_sizes
from model_store.engines.refusals import (
    check_output_shape,
    memory_errors,
    prediction_error,
    tile_text,
)

#: What TensorFlow keeps of a dropped model's graph without its weights: 0.2 MB for a small CNN,
#: 3 MB for a MobileNetV2.
_KEPT_GRAPH_BYTES = 4 * 2**20
#: Copies that it keeps of the constants in a graph.
_KEPT_COPIES = 4


def forget_dropped_models() -> None:
    """Free what TensorFlow keeps for the calls of models that are gone (`kept_bytes`).

    Models still loaded are prepared again by their next call, with the same outputs. Running calls
    are not affected.
    """
    # A new seed invalidates everything that TensorFlow has prepared; predict uses no seed.
    import_tensorflow().random.set_seed(0)


def kept_bytes(model: Any) -> int:
    """The most that TensorFlow keeps of one `compile_predict` after the model is gone."""
    return _KEPT_GRAPH_BYTES + _KEPT_COPIES * constant_bytes(model)


def compile_predict(
    model: Any,
    *,
    tile_items: int,
    item_shape: Sequence[int | None],
    item_dtype: str,
    exact: bool = False,
    constants: bool = True,
) -> Predict:
    """Compile predict to one function of a fixed signature, traced here and never again.

    The function takes item_dtype [tile_items, *item_shape] and returns float32 [tile_items,
    outputs]; bfloat16 comes as float32. With open sides it takes any number of rows of any size. It
    computes in the thread that calls it, and many threads may call it. A row's bytes do not depend
    on the other rows of its tile.

    Args:
        model: From `load_model`.
        tile_items: Rows of every call; ignored with open sides.
        item_shape: Shape of one item; `None` where a side is open.
        item_dtype: dtype of the model's input.
        exact: Refuse a model that computes in less than float64 anywhere.
        constants: Make constants of the weights of small models (ADR 0015).

    Raises:
        ModelRefusedError: The model does not take such items, has other outputs, or is not exact.
    """
    keras, tensorflow = import_keras(), import_tensorflow()
    rows = None if None in item_shape else tile_items
    takes = tile_text(item_dtype, rows, item_shape)

    def forward(items: Any) -> Any:
        with constant_weights(model if constants else None, keras, tensorflow):
            outputs = call_model(model, tensorflow.cast(items, item_dtype))
        numbers = tensorflow.cast(outputs, tensorflow.float32)
        return tensorflow.expand_dims(numbers, -1) if numbers.shape.rank == 1 else numbers

    try:
        signature = tensorflow.TensorSpec([rows, *item_shape], array_dtype(item_dtype))
        traced = tensorflow.function(forward, autograph=False)
        with memory_errors():
            compiled = traced.get_concrete_function(signature)
        forget_gradients(compiled.graph)
        shape = tuple(compiled.structured_outputs.shape)
    except MemoryError:
        raise
    except Exception as exc:
        # Layers raise anything on input that does not fit.
        raise ModelRefusedError(
            f"the model does not take {takes} ({error_line(exc)}); {_remedy(model, exc)}"
        ) from exc
    check_output_shape(shape, tile_items=rows, takes=takes)
    if exact:
        check_float64(compiled, takes=takes)
    predict = _guarded(_predict_call(compiled, signature, tensorflow), tensorflow)
    return with_checked_sizes(predict, model, item_dtype=item_dtype) if rows is None else predict


def _remedy(model: Any, exc: Exception) -> str:
    if "scope name" in str(exc):
        return f"give it another name than {model.name!r}: letters, digits, '.', '_' and '-' alone"
    if any(getattr(layer, "stateful", False) for layer in model._flatten_layers()):  # noqa: SLF001 - nested ones too
        return "build it with stateful=False and the same weights: an item may not change the next"
    return "publish it with the item shape and dtype of its Input layer"


def _predict_call(compiled: Any, signature: Any, tensorflow: Any) -> Predict:
    call = _call(compiled, tensorflow)
    if not signature.shape.is_fully_defined():
        return lambda tile: call(tensorflow.constant(tile)).numpy()
    #: One for each thread that was ever in a call at the same time as others.
    idle: list[TensorMemory] = []

    def predict(tile: Array) -> NDArray[np.float32]:
        try:
            memory = idle.pop()
        except IndexError:
            memory = TensorMemory(signature, from_dlpack=tensorflow.experimental.dlpack.from_dlpack)
        try:
            return call(memory.holding(tile)).numpy()  # type: ignore[no-any-return]
        finally:
            idle.append(memory)

    return predict


def _guarded(predict: Predict, tensorflow: Any) -> Predict:
    """`predict`, whose failures are ours."""

    def guarded(tile: Array) -> NDArray[np.float32]:
        try:
            with memory_errors():
                return predict(tile)
        except (tensorflow.errors.OpError, ValueError, TypeError) as exc:
            raise prediction_error(tile, exc) from exc

    return guarded


def _call(compiled: Any, tensorflow: Any) -> Callable[[Any], Any]:
    """`compiled`, run by the calling thread (ADR 0013)."""
    if tensorflow.config.list_physical_devices("GPU"):
        # As one operation, all of it would be placed on one device.
        return compiled  # type: ignore[no-any-return]
    operation = tensorflow.raw_ops.StatefulPartitionedCall
    captured, dtypes = list(compiled.captured_inputs), [compiled.structured_outputs.dtype]
    function = without_graph(compiled)

    def call(tensor: Any) -> Any:
        (outputs,) = operation(args=[tensor, *captured], Tout=dtypes, f=function)
        return outputs

    return call


#: EIGEN_MAX_ALIGN_BYTES; TensorFlow aborts the process on memory with less alignment.
_ALIGNED_BYTES = 64


class TensorMemory:
    """A tensor of a fixed shape and dtype whose items can be replaced.

    TensorFlow copies an array that it is given into new memory each time: 0.26 ms for 1,024 images
    of 28x28. Reusing the memory takes 0.03 ms.

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
        """The tensor, holding `items` until the next call.

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


#: Weights up to this size are constants: TensorFlow needs 4 times as much while the model is
#: loaded, and 11 times while it prepares the graph.
MOST_CONSTANT_BYTES = 24 * 2**20


def constant_bytes(model: Any) -> int:
    """The size of the weights that become constants: all, or 0 where they are too large."""
    size_bytes = sum(math.prod(w.shape) * w.value.dtype.size for w in model.weights)
    return size_bytes if size_bytes <= MOST_CONSTANT_BYTES else 0


def constant_weights(model: Any, keras: Any, tensorflow: Any) -> Any:
    """A context in which calls of the model are traced with its weights as constants (ADR 0015).

    Such calls do not change the model: state that its layers update is discarded.
    """
    weights = model.weights if model is not None and constant_bytes(model) else []
    # Inside the graph being traced they have no values.
    with tensorflow.init_scope():
        values = [(weight, weight.numpy()) for weight in weights]
    return keras.StatelessScope(values)
