"""Keras on the backend of this process: what publishing and training need of any."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, cast

from fornada.tensors import Dtype, InputTensor, OutputTensor, stored_dtype
from model_store.engines import keras_predict
from model_store.engines.interface import Predict
from model_store.engines.jax import devices
from model_store.engines.jax import predict as jax_predict
from model_store.engines.keras_setup import (
    Backend,
    backend_here,
    import_keras,
    import_tensorflow,
    packed_inputs,
)
from model_store.engines.openvino import engine as openvino


def compile_predict(model: Any, *, tile_items: int, takes: Sequence[InputTensor]) -> Predict:
    """Compile predict in float32, without what pays only over many calls.

    Args:
        model: A Keras model.
        tile_items: Rows of every call.
        takes: The model's inputs; with open sides the sizes may be any.

    Raises:
        ModelRefusedError: It does not take such items, or an output has no row for each.
    """
    backend = backend_here()
    if backend == "tensorflow":
        # Constants take four times the weights.
        return keras_predict.compile_predict(
            model, tile_items=tile_items, takes=takes, gives=None, constants=False
        )
    if backend == "jax":
        return jax_predict.compile_predict(model, tile_items=tile_items, takes=takes, gives=None)
    return openvino.compile_predict(
        model,
        tile_items=tile_items,
        takes=takes,
        gives=_outputs_of(model, tile_items, takes),
        streams=1,
        precision="float32",
    )


def _outputs_of(model: Any, rows: int, takes: Sequence[InputTensor]) -> list[OutputTensor]:
    keras = import_keras()
    tensors = [keras.KerasTensor((rows, *tensor.shape), dtype=tensor.dtype) for tensor in takes]
    found = keras.tree.flatten(model.compute_output_spec(packed_inputs(model, tensors)))
    return [
        OutputTensor(
            name=f"output_{number}",
            dtype=cast("Dtype", stored_dtype(each.dtype)),
            shape=list(each.shape[1:]),
            kind="tensor",
        )
        for number, each in enumerate(found)
    ]


def as_fed(items: Any) -> Any:
    """Items as `Model.fit` and `Model.evaluate` take them: strings as TensorFlow's tensors.

    Args:
        items: An array, or arrays in a dict or list.
    """
    return keras_predict.as_fed(items) if backend_here() == "tensorflow" else items


def forget_dropped_models() -> None:
    """Free what the framework keeps of models that are gone."""
    backend = backend_here()
    if backend == "tensorflow":
        keras_predict.forget_dropped_models()
    elif backend == "jax":
        devices.import_jax().clear_caches()


def is_on_gpu() -> bool:
    """Whether Keras computes on a GPU or TPU."""
    backend = backend_here()
    if backend == "tensorflow":
        return bool(import_tensorflow().config.list_physical_devices("GPU"))
    return backend == "jax" and devices.device_here().platform != "cpu"


def backend_version() -> tuple[Backend, str]:
    """The package that Keras runs on, and its version."""
    backend = backend_here()
    # It has several distributions.
    own = import_tensorflow().__version__ if backend == "tensorflow" else version(backend)
    return backend, own
