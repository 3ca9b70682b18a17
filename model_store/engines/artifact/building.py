"""Build a model of a `.keras` file, and check its sizes before Keras makes any of its weights."""

import contextlib
import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from model_store.safety.config_check import refusal

#: Weights that layers make beyond those saved, such as the states of random generators, and what
#: quantised layers make on the way.
_FREE_NUMBERS, _MOST_TIMES = 2**20, 4
#: Numbers in any output of a layer for one item: 1 GiB in float32.
_MAX_ITEM_NUMBERS = 2**28
#: Weights with more numbers do not get the random values that the file replaces at once.
_LARGE_NUMBERS = 2**14
#: In `keras.initializers`; all other random ones are kinds of these.
_RANDOM = ("Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling")
#: EIGEN_MAX_ALIGN_BYTES; TensorFlow aborts the process on memory with less alignment.
_ALIGNED_BYTES = 64


def load(keras: Any, config: Any, weights: Path, *, where: str, element_count: int) -> Any:
    """The model with the weights of its file; they are in memory once.

    Args:
        keras: The module.
        config: Of a checked model of Keras's own layers.
        weights: The weights file.
        where: What it was read from, for messages.
        element_count: The numbers in the weights file.

    Raises:
        ModelRefusedError: As `check_built_sizes`.
        Exception: Keras cannot build it.
    """
    model, variables = _built(keras, config, where=where, element_count=element_count)
    for variable in variables:
        _initialize(keras, variable)
    # One without layers of known shape has no weights.
    if model.built:
        model.load_weights(weights)
    for variable in variables:
        vars(variable).pop("_convert_to_tensor", None)
    return model


def check_built_sizes(keras: Any, config: Any, *, where: str, element_count: int) -> None:
    """Build a model without weights, and check what it would take.

    Layers compute only shapes: it takes a fraction of the time of a load, and no memory.

    Args:
        keras: The module.
        config: Of a checked model of Keras's own layers.
        where: What it was read from, for messages.
        element_count: The numbers in its weights file.

    Raises:
        ModelRefusedError: It has more weights than its file, or an item becomes too large on its
            way through the layers.
        Exception: Keras cannot build it.
    """
    _built(keras, config, where=where, element_count=element_count)


def _built(keras: Any, config: Any, *, where: str, element_count: int) -> tuple[Any, list[Any]]:
    serialization: Any = importlib.import_module("keras.src.saving.serialization_lib")
    with _without_weights(keras) as weights, serialization.ObjectSharingScope():
        model = keras.saving.deserialize_keras_object(
            {**config, "compile_config": None}, safe_mode=True
        )
    wanted = sum(math.prod(weight.shape) for weight in weights)
    if wanted > _MOST_TIMES * element_count + _FREE_NUMBERS:
        raise refusal(where, f"needs {wanted} weights, and has only {element_count} weights in all")
    for operation, shape in output_shapes(model):
        numbers = math.prod(size or 1 for size in shape[1:])
        if numbers > _MAX_ITEM_NUMBERS:
            raise refusal(
                where,
                f"has a layer {operation.name[:80]!r} that makes {numbers} numbers of an item, "
                f"over {_MAX_ITEM_NUMBERS}",
            )
    return model, weights


def output_shapes(model: Any) -> Iterator[tuple[Any, tuple[int | None, ...]]]:
    """Each call of an operation in the graph of a built model, and the shape that it gives."""
    # A Sequential has its graph beside it.
    graph = getattr(model, "_functional", None) or model
    for operation in getattr(graph, "operations", ()):
        yield from output_shapes(operation)
        for node in operation._inbound_nodes:  # noqa: SLF001 - a layer may be called many times
            for output in node.output_tensors:
                yield operation, tuple(output.shape)


def make_axes_hashable(keras: Any, model: Any) -> None:
    """Have operations such as `keras.ops.norm` name their axes as JAX takes them.

    Keras keeps them in lists, which it passes on as they are, and JAX takes tuples alone.
    """
    for operation, _ in output_shapes(model):
        is_layer = isinstance(operation, keras.Layer)
        if not is_layer and isinstance(getattr(operation, "axis", None), list):
            operation.axis = tuple(operation.axis)


@contextlib.contextmanager
def _without_weights(keras: Any) -> Iterator[list[Any]]:
    """A scope in which layers get no weights; the list of those that they ask for."""
    state: Any = importlib.import_module("keras.src.backend.common.global_state")
    given = state.get_global_attribute("uninitialized_variables", [])
    weights: list[Any] = []
    state.set_global_attribute("uninitialized_variables", weights)
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield weights
    finally:
        state.set_global_attribute("uninitialized_variables", given)


def _initialize(keras: Any, variable: Any) -> None:
    """Make a variable, without the random values that the file replaces at once."""
    shape, backend = tuple(variable.shape), keras.backend.backend()
    if math.prod(shape) > _LARGE_NUMBERS or (backend == "jax" and _is_random(keras, variable)):
        variable._initializer = keras.initializers.Zeros()  # noqa: SLF001 - as Keras sets it
        if backend == "tensorflow" and variable.dtype == "float32":
            _lend_memory(variable, shape)
    if backend == "jax":
        _compile_nothing(keras, variable, shape)
    variable._deferred_initialize()  # noqa: SLF001 - as Keras does at the end of the scope


def _is_random(keras: Any, variable: Any) -> bool:
    kinds = tuple(getattr(keras.initializers, name) for name in _RANDOM)
    return isinstance(variable._initializer, kinds)  # noqa: SLF001 - as above


def _compile_nothing(keras: Any, variable: Any, shape: tuple[int, ...]) -> None:
    """Have a variable of JAX take arrays as they are.

    Keras has JAX make zeros and ones, and copies of arrays, by a program for each shape.
    """
    convert = variable._convert_to_tensor  # noqa: SLF001 - what `assign` calls

    def put(value: Any, dtype: Any = None) -> Any:
        if not isinstance(value, np.ndarray):
            return convert(value, dtype=dtype)
        return sys.modules["jax"].device_put(value.astype(dtype or variable.dtype, copy=False))

    variable._convert_to_tensor = put  # noqa: SLF001 - as above
    for kind, make in ((keras.initializers.Zeros, np.zeros), (keras.initializers.Ones, np.ones)):
        if isinstance(variable._initializer, kind):  # noqa: SLF001 - as above
            numbers = make(shape, variable.dtype)
            variable._initializer = lambda *_args, _numbers=numbers, **_options: _numbers  # noqa: SLF001 - as above


def _lend_memory(variable: Any, shape: tuple[int, ...]) -> None:
    """Give a variable of TensorFlow memory in which the numbers that it is assigned are put.

    TensorFlow copies an array twice, and keeps one of the copies.
    """
    size_bytes = 4 * math.prod(shape)
    memory = np.zeros(size_bytes + _ALIGNED_BYTES, np.uint8)
    start = -memory.ctypes.data % _ALIGNED_BYTES
    numbers = memory[start : start + size_bytes].view(np.float32).reshape(shape)
    tensor = sys.modules["tensorflow"].experimental.dlpack.from_dlpack(numbers.__dlpack__())
    convert = variable._convert_to_tensor  # noqa: SLF001 - what `assign` calls

    def put(value: Any, dtype: Any = None) -> Any:
        if not isinstance(value, np.ndarray) or value.shape != shape:
            return convert(value, dtype=dtype)
        np.copyto(numbers, value)
        return tensor

    variable._initializer = lambda *_args, **_options: tensor  # noqa: SLF001 - as above
    variable._convert_to_tensor = put  # noqa: SLF001 - as above
