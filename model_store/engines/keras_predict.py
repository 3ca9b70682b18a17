"""The compiled predict call of a Keras model on TensorFlow."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fornada.errors import ModelRefusedError, error_line
from fornada.formats.items import Array
from fornada.formats.rows import Rows
from fornada.tensors import InputTensor, OutputTensor, stored_dtype
from model_store.engines.interface import Predict
from model_store.engines.keras_exact import check_float64
from model_store.engines.keras_graph import forget_gradients, without_graph
from model_store.engines.keras_setup import (
    call_model,
    import_keras,
    import_tensorflow,
    name_scopes_kept,
)
from model_store.engines.open_sizes import with_checked_sizes
from model_store.engines.refusals import (
    Sides,
    call_text,
    check_output_shapes,
    check_outputs_said,
    memory_errors,
    prediction_error,
)
from model_store.engines.tensor_memory import TensorMemory

#: What TensorFlow keeps of a dropped model's graph without its weights: 0.2 MB for a small CNN,
#: 3 MB for a MobileNetV2.
_KEPT_GRAPH_BYTES = 4 * 2**20
#: Copies that it keeps of the constants in a graph.
_KEPT_COPIES = 4


def warm_up() -> None:
    """Have TensorFlow start what computes, and Keras import what it needs, with a tiny model.

    The first small network of a process would take twice as long to load.
    """
    layers = import_keras().layers
    model = import_keras().Sequential(
        [layers.Input((1,), name="warm_up_input"), layers.Dense(1, name="warm_up_layer")],
        name="warm_up",
    )
    takes = [InputTensor(name="input", dtype="float32", shape=[1])]
    compile_predict(model, tile_items=1, takes=takes, gives=None)(Rows(np.zeros((1, 1), "float32")))


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
    takes: Sequence[InputTensor],
    gives: Sequence[OutputTensor] | None,
    exact: bool = False,
    constants: bool = True,
) -> Predict:
    """Compile predict to one function of a fixed signature, traced here and never again.

    With open sides it takes any number of rows of any size. It computes in the thread that calls
    it, and many threads may call it. A row's bytes do not depend on the other rows of its tile.

    Args:
        model: From `load_model`.
        tile_items: Rows of every call; ignored with open sides.
        takes: The model's inputs.
        gives: Its outputs, as its manifest says; `None` for those that it has.
        exact: Refuse a model that computes in less than float64 anywhere.
        constants: Make constants of the weights of small models (ADR 0015).

    Raises:
        ModelRefusedError: The model does not take such items, has other outputs, or is not exact.
    """
    tensorflow = import_tensorflow()
    rows = None if any(tensor.is_open for tensor in takes) else tile_items
    taken = call_text(takes, rows)

    try:
        signature = [
            tensorflow.TensorSpec([rows, *tensor.shape], tensor_dtype(tensor)) for tensor in takes
        ]
        forward = _forward(model, rows, takes, gives, constants=constants)
        traced = tensorflow.function(forward, autograph=False)
        with memory_errors(), name_scopes_kept():
            compiled = traced.get_concrete_function(*signature)
        forget_gradients(compiled.graph)
        shapes = [_sides(output) for output in compiled.structured_outputs]
    except MemoryError:
        raise
    except Exception as exc:
        # Layers raise anything on input that does not fit.
        raise ModelRefusedError(
            f"the model does not take {taken} ({error_line(exc)}); {_remedy(model, exc)}"
        ) from exc
    check_output_shapes(shapes, tile_items=rows, takes=taken)
    if gives is not None:
        check_outputs_said(shapes, gives, takes=taken)
    if exact:
        check_float64(compiled, takes=taken)
    predict = _guarded(_predict_call(compiled, signature, tensorflow), tensorflow)
    return with_checked_sizes(predict, model, takes=takes) if rows is None else predict


def _forward(
    model: Any,
    rows: int | None,
    takes: Sequence[InputTensor],
    gives: Sequence[OutputTensor] | None,
    *,
    constants: bool,
) -> Callable[..., list[Any]]:
    """What is traced: the inputs' tensors to those of the outputs."""
    keras, tensorflow = import_keras(), import_tensorflow()

    def forward(*items: Any) -> list[Any]:
        cast = [
            each if tensor.dtype == "string" else tensorflow.cast(each, tensor.dtype)
            for each, tensor in zip(items, takes, strict=True)
        ]
        with constant_weights(model if constants else None, keras, tensorflow):
            outputs = call_model(model, cast)
        return [_of_rows(each, rows, tensorflow) for each in _as_said(outputs, gives, tensorflow)]

    return forward


def tensor_dtype(tensor: InputTensor) -> str:
    """The dtype in which TensorFlow is given an input."""
    return "string" if tensor.dtype == "string" else tensor.numpy_dtype


def _as_said(outputs: Sequence[Any], gives: Sequence[OutputTensor] | None, tensorflow: Any) -> Any:
    """The outputs in the dtypes and shapes that the manifest says."""
    if gives is None:
        return [tensorflow.cast(each, stored_dtype(each.dtype.name)) for each in outputs]
    if len(outputs) != len(gives):
        raise ValueError(f"it gives {len(outputs)} outputs, and its manifest says {len(gives)}")
    return [
        # A number an item was published as a vector of one.
        tensorflow.expand_dims(cast, -1) if (cast.shape.rank, tensor.shape) == (1, [1]) else cast
        for tensor, cast in (
            (tensor, tensorflow.cast(each, tensor.numpy_dtype))
            for each, tensor in zip(outputs, gives, strict=True)
        )
    ]


def _of_rows(output: Any, rows: int | None, tensorflow: Any) -> Any:
    """The output with a row for each item, where ragged layers have lost their number."""
    if rows is None or not output.shape.rank or output.shape[0] is not None:
        return output
    # Checked in each call.
    return tensorflow.ensure_shape(output, [rows, *output.shape[1:]])


def _sides(output: Any) -> Sides:
    if output.shape.rank is None:
        raise ValueError("an output has no fixed number of axes")
    return tuple(output.shape)


def _remedy(model: Any, exc: Exception) -> str:
    if "scope name" in str(exc):
        return f"give it another name than {model.name!r}: letters, digits, '.', '_' and '-' alone"
    if any(getattr(layer, "stateful", False) for layer in model._flatten_layers()):  # noqa: SLF001 - nested ones too
        return "build it with stateful=False and the same weights: an item may not change the next"
    return "publish it with the item shape and dtype of its Input layer"


def _predict_call(compiled: Any, signature: Sequence[Any], tensorflow: Any) -> Predict:
    call = _call(compiled, tensorflow)

    def is_fixed(spec: Any) -> bool:
        return bool(spec.shape.is_fully_defined()) and spec.dtype != tensorflow.string

    if not all(map(is_fixed, signature)):
        return lambda tile: Rows(
            *(output.numpy() for output in call([_tensor(a, tensorflow) for a in tile.arrays]))
        )
    #: One for each thread that was ever in a call at the same time as others.
    idle: list[list[TensorMemory]] = []

    def predict(tile: Rows) -> Rows:
        try:
            memories = idle.pop()
        except IndexError:
            from_dlpack = tensorflow.experimental.dlpack.from_dlpack
            memories = [TensorMemory(spec, from_dlpack=from_dlpack) for spec in signature]
        try:
            given = [
                memory.holding(array) for memory, array in zip(memories, tile.arrays, strict=True)
            ]
            return Rows(*(output.numpy() for output in call(given)))
        finally:
            idle.append(memories)

    return predict


def as_fed(items: Any) -> Any:
    """Items as `Model.fit` and `Model.evaluate` take them: strings as TensorFlow's tensors.

    Args:
        items: An array, or arrays in a dict or list.
    """
    keras, tensorflow = import_keras(), import_tensorflow()
    return keras.tree.map_structure(
        lambda each: _tensor(each, tensorflow) if _has_texts(each) else each, items
    )


def _has_texts(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.hasobject


def _tensor(array: Array, tensorflow: Any) -> Any:
    if not array.dtype.hasobject:
        return tensorflow.constant(array)
    return tensorflow.constant(array.ravel().tolist(), tensorflow.string, shape=array.shape)


def _guarded(predict: Predict, tensorflow: Any) -> Predict:
    """`predict`, whose failures are ours."""

    def guarded(tile: Rows) -> Rows:
        try:
            with memory_errors():
                return predict(tile)
        except (tensorflow.errors.OpError, ValueError, TypeError) as exc:
            raise prediction_error(tile, exc) from exc

    return guarded


def _call(compiled: Any, tensorflow: Any) -> Callable[[list[Any]], Sequence[Any]]:
    """`compiled`, run by the calling thread (ADR 0013)."""
    if tensorflow.config.list_physical_devices("GPU"):
        # As one operation, all of it would be placed on one device.
        return lambda tensors: compiled(*tensors)
    operation = tensorflow.raw_ops.StatefulPartitionedCall
    captured = list(compiled.captured_inputs)
    dtypes = [output.dtype for output in compiled.structured_outputs]
    function = without_graph(compiled)
    return lambda tensors: operation(args=[*tensors, *captured], Tout=dtypes, f=function)


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
