"""What a loaded Keras model takes and gives, where Fornada supports it."""

from collections.abc import Iterator
from typing import Any, cast, get_args

from fornada.errors import ModelRefusedError
from fornada.tensors import Dtype
from model_store.engines.keras_setup import import_keras


def read_signature(model: Any, where: str) -> tuple[list[int], Dtype]:
    """Shape and dtype of one item.

    Raises:
        ModelRefusedError: It was never built, or takes or gives what is not supported yet; says
            all of it.
    """
    if not model.built:
        raise ModelRefusedError(
            f"{where} was never built, so it has no weights and no input shape; call "
            "model.build((None, …)) or fit it, before you publish it"
        )
    inputs = _inputs(model, where)
    facts = [*_unsupported_inputs(inputs), *_unsupported_outputs(model)]
    if facts:
        raise ModelRefusedError(
            f"{where} {'; '.join(facts)}: not supported yet; it must take one array of fixed "
            f"shape, of {', '.join(get_args(Dtype))}, and give one row of numbers per item"
        )
    ((_, shape, dtype),) = inputs
    return [size for size in shape if size is not None], cast("Dtype", dtype)


def token_count(model: Any) -> int | None:
    """The size of the smallest vocabulary that the model's integers may index, if it has one."""
    keras = import_keras()
    layers = model._flatten_layers()  # noqa: SLF001 - all layers, nested ones too
    return min(
        (layer.input_dim for layer in layers if isinstance(layer, keras.layers.Embedding)),
        default=None,
    )


def _inputs(model: Any, where: str) -> list[tuple[str, list[int | None], str]]:
    """Name, shape of an item and dtype of each input."""
    if getattr(model, "inputs", None):
        return [(found.name, list(found.shape[1:]), str(found.dtype)) for found in model.inputs]
    # A subclassed model knows the shape that it was built for.
    shape = (model.get_build_config() or {}).get("input_shape")
    if not isinstance(shape, list | tuple) or not all(
        size is None or isinstance(size, int) for size in shape
    ):
        raise ModelRefusedError(
            f"{where} does not say what it takes; call it on an array, or model.build((None, …)), "
            "before you publish it"
        )
    return [("inputs", list(shape[1:]), model.input_dtype)]


def _unsupported_inputs(inputs: list[tuple[str, list[int | None], str]]) -> Iterator[str]:
    if len(inputs) != 1:
        yield f"takes {len(inputs)} inputs ({', '.join(name for name, _, _ in inputs)})"
        return
    ((_, shape, dtype),) = inputs
    if None in shape:
        yield f"takes items of shape {shape}, with open sizes"
    if dtype not in get_args(Dtype):
        yield f"takes items of dtype {dtype}"


def _unsupported_outputs(model: Any) -> Iterator[str]:
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) > 1:
        named = getattr(model, "_outputs_struct", None)
        names = list(named) if isinstance(named, dict) else model.output_names
        yield f"gives {len(outputs)} outputs ({', '.join(names)})"
    elif outputs and len(outputs[0].shape) != 2:  # noqa: PLR2004 - items, numbers
        yield f"gives outputs of shape {list(outputs[0].shape[1:])} per item"
