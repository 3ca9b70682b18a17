"""What a Keras model takes and gives: names, dtypes and shapes of its inputs and outputs."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

from fornada.errors import ModelRefusedError
from fornada.formats.items import Array
from fornada.tensors import Dtype, InputTensor, Shape, text_of
from model_store.engines.keras_setup import import_keras

_MAX_NAME_LENGTH = 200
#: Parameters of `call` that are not inputs.
_NO_INPUTS = {"training", "mask", "masks"}
_SUPPORTED = "takes one input of numbers, and gives one number or one vector an item"


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """The one input and the one output of a model."""

    input: InputTensor
    output_name: str
    #: dtype that the model computes.
    output_dtype: str
    #: Without the items' axis; `None` where only a call of the model can tell.
    output_shape: Shape | None
    #: Whether the model says which dtype it takes; a subclassed one does not.
    knows_dtype: bool = True

    def with_dtype_of(self, items: Array | None) -> "Signature":
        """The signature, with the dtype of typical items where these are integers."""
        if self.knows_dtype or items is None or items.dtype.kind not in "iu":
            return self
        return replace(self, input=self.input.model_copy(update={"dtype": items.dtype.name}))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """An input or output, supported or not."""

    name: str
    dtype: str
    #: With the items' axis; `None` where the model does not say.
    full_shape: tuple[int | None, ...] | None
    is_sparse: bool = False

    @property
    def shape(self) -> Shape:
        """The shape of one item."""
        return list((self.full_shape or ())[1:])

    def __str__(self) -> str:
        shape = "of any shape" if self.full_shape is None else text_of(self.shape)
        return f"{self.name} ({self.dtype} {shape})"


def read_signature(model: Any, where: str) -> Signature:
    """The input and output of a Keras model, by the names that Keras has.

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
    outputs = _outputs(model, inputs)
    facts = dict([*_unsupported_inputs(inputs), *_unsupported_outputs(outputs, inputs)])
    if facts:
        remedies = list(dict.fromkeys(filter(None, facts.values())))
        raise ModelRefusedError(
            f"{where} {'; '.join(facts)}; not supported yet: this release {_SUPPORTED}"
            + "".join(f"; {remedy}" for remedy in remedies)
        )
    (taken,), (given,) = inputs, outputs
    return Signature(
        input=InputTensor(name=taken.name, dtype=cast("Dtype", taken.dtype), shape=taken.shape),
        output_name=given.name,
        output_dtype=given.dtype,
        output_shape=None if given.full_shape is None else given.shape,
        knows_dtype=graph_of(model) is not None,
    )


def token_count(model: Any) -> int | None:
    """The size of the smallest vocabulary that the model's integers may index, if it has one."""
    keras = import_keras()
    layers = model._flatten_layers()  # noqa: SLF001 - all layers, nested ones too
    return min(
        (layer.input_dim for layer in layers if isinstance(layer, keras.layers.Embedding)),
        default=None,
    )


def graph_of(model: Any) -> Any:
    """The model whose tensors are known: itself, or what a Sequential made of its layers.

    `None` for a subclassed model.
    """
    graph = getattr(model, "_functional", None) or model
    return graph if getattr(graph, "inputs", None) else None


def _inputs(model: Any, where: str) -> list[_Found]:
    graph = graph_of(model)
    if graph is not None:
        return _named(graph._inputs_struct, "inputs")  # noqa: SLF001 - the only place with the keys
    names = _call_arguments(model)
    shapes = (model.get_build_config() or {}).get("input_shape")
    if len(names) == 1 and isinstance(shapes, dict):
        names = [str(key) for key in shapes]
    if len(names) != 1:
        return [_Found(name=name, dtype=model.input_dtype, full_shape=None) for name in names]
    if not isinstance(shapes, list | tuple) or not all(
        size is None or isinstance(size, int) for size in shapes
    ):
        raise ModelRefusedError(
            f"{where} does not say what it takes; call it on one array, or "
            "model.build((None, …)), before you publish it"
        )
    # What it was built on says how many items were in one call.
    return [_Found(name=names[0], dtype=model.input_dtype, full_shape=(None, *shapes[1:]))]


def _call_arguments(model: Any) -> list[str]:
    """The names of a subclassed model's inputs."""
    parameters = inspect.signature(model.call).parameters.values()
    required = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
        and parameter.name not in _NO_INPUTS
    ]
    return required or ["inputs"]


def _outputs(model: Any, inputs: Sequence[_Found]) -> list[_Found]:
    graph = graph_of(model)
    if graph is not None:
        return _named(graph._outputs_struct, "outputs")  # noqa: SLF001 - as above
    keras = import_keras()
    unknown = [_Found(name="outputs", dtype="float32", full_shape=None)]
    if len(inputs) != 1 or inputs[0].full_shape is None:
        return unknown
    try:
        taken = keras.KerasTensor(inputs[0].full_shape, dtype=inputs[0].dtype)
        return _named(model.compute_output_spec(taken), "outputs")
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - layers raise anything; the golden batch is the proof
        return unknown


def _named(structure: Any, fallback: str) -> list[_Found]:
    """The tensors of a structure, each by its keys, else by the layer that made it."""
    tree = import_keras().tree
    found: list[_Found] = []
    taken: set[str] = set()
    for path, tensor in tree.flatten_with_path(structure):
        name = _unique(_name(path, tensor, fallback), taken)
        taken.add(name)
        found.append(
            _Found(
                name=name,
                dtype=str(tensor.dtype),
                full_shape=tuple(tensor.shape),
                is_sparse=any(getattr(tensor, kind, False) for kind in ("sparse", "ragged")),
            )
        )
    return found


def _name(path: Sequence[Any], tensor: Any, fallback: str) -> str:
    if any(isinstance(part, str) for part in path):
        name = "/".join(str(part) for part in path)
    else:
        # Keras renames an unnamed Input when it saves; its layer keeps its name.
        history = getattr(tensor, "_keras_history", None)
        name = fallback if history is None else history.operation.name
    return name[:_MAX_NAME_LENGTH] or fallback


def _unique(name: str, taken: set[str]) -> str:
    number, unique = 0, name
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    return unique


def _unsupported_inputs(inputs: Sequence[_Found]) -> Iterator[tuple[str, str]]:
    """Facts, each with its remedy, if there is one."""
    if len(inputs) != 1:
        yield f"takes {len(inputs)} inputs: {', '.join(map(str, inputs))}", ""
        return
    (taken,) = inputs
    if taken.dtype == "string":
        yield f"takes text: {taken}", "publish the part behind its text layers, which takes numbers"
    elif taken.dtype not in get_args(Dtype):
        yield f"takes {taken}", ""
    if taken.is_sparse:
        yield f"takes sparse items: {taken}", "build it on a dense Input"


def _unsupported_outputs(
    outputs: Sequence[_Found], inputs: Sequence[_Found]
) -> Iterator[tuple[str, str]]:
    if len(outputs) != 1:
        yield (
            f"gives {len(outputs)} outputs: {', '.join(map(str, outputs))}",
            "publish one of them with keras.Model(model.inputs, model.outputs[0])",
        )
        return
    (given,) = outputs
    if given.dtype == "string" or given.dtype not in get_args(Dtype):
        yield f"gives {given}", "let it end in numbers"
    if given.full_shape is None:
        return
    own_items = {None, *(taken.full_shape[0] for taken in inputs if taken.full_shape)}
    if not given.full_shape or given.full_shape[0] not in own_items:
        whole = f"{given.name} ({given.dtype} {text_of(list(given.full_shape))})"
        yield f"gives {whole} for all items together", "keep the axis of the items"
    elif len(given.shape) > 1:
        yield (
            f"gives an output of rank {len(given.shape)}: {given}",
            "let it end in keras.layers.Flatten()",
        )
    elif None in given.shape:
        yield f"gives an output of open size: {given}", "let it end in a fixed number of outputs"
