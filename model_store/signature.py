"""What a Keras model takes and gives: names, dtypes and shapes of its inputs and outputs."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

import numpy as np

from fornada.errors import ModelRefusedError
from fornada.tensors import MAX_TENSORS, Dtype, InputTensor, Shape, text_of
from model_store.engines.keras_setup import import_keras, packed_inputs

_MAX_NAME_LENGTH = 200
#: Of a vocabulary, for golden items.
_MOST_WORDS = 30
#: Parameters of `call` that are not inputs.
_NO_INPUTS = {"training", "mask", "masks"}


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenOutput:
    """One output of a model."""

    name: str
    #: dtype that the model computes.
    dtype: str
    #: Without the items' axis; `None` where only a call of the model can tell.
    shape: Shape | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """The inputs and outputs of a model."""

    inputs: list[InputTensor]
    outputs: list[GivenOutput]
    #: Whether the model says which dtypes it takes; a subclassed one does not.
    knows_dtypes: bool = True

    def with_dtypes_of(self, items: Any) -> "Signature":
        """The signature, with the dtypes of typical items where these are integers.

        Args:
            items: As a publisher gives them: an array, or arrays by name; `None` changes nothing.
        """
        if self.knows_dtypes or items is None:
            return self
        by_name = items if isinstance(items, Mapping) else {self.inputs[0].name: items}
        inputs = []
        for tensor in self.inputs:
            dtype = np.asarray(by_name.get(tensor.name, 0.0)).dtype
            known = {"dtype": dtype.name} if dtype.kind in "iu" else {}
            inputs.append(tensor.model_copy(update=known))
        return replace(self, inputs=inputs)


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
    """The inputs and outputs of a Keras model, by the names that Keras has.

    Raises:
        ModelRefusedError: It was never built, or takes or gives what is not supported; says all of
            it.
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
            f"{where} {'; '.join(facts)}; not supported"
            + "".join(f"; {remedy}" for remedy in remedies)
        )
    return Signature(
        inputs=[
            InputTensor(name=each.name, dtype=cast("Dtype", each.dtype), shape=each.shape)
            for each in inputs
        ],
        outputs=[
            GivenOutput(
                name=each.name,
                dtype=each.dtype,
                shape=None if each.full_shape is None else each.shape,
            )
            for each in outputs
        ],
        knows_dtypes=graph_of(model) is not None,
    )


def token_count(model: Any) -> int | None:
    """The size of the smallest vocabulary that the model's integers may index, if it has one."""
    keras = import_keras()
    layers = model._flatten_layers()  # noqa: SLF001 - all layers, nested ones too
    return min(
        (layer.input_dim for layer in layers if isinstance(layer, keras.layers.Embedding)),
        default=None,
    )


def words_of(model: Any) -> list[str]:
    """Some words of the vocabularies that the model looks up texts in."""
    found: dict[str, None] = {}
    for layer in model._flatten_layers():  # noqa: SLF001 - all layers, nested ones too
        vocabulary: list[Any] = getattr(layer, "get_vocabulary", list)()
        found |= {word: None for word in vocabulary[:_MOST_WORDS] if isinstance(word, str)}
    return list(found)[:_MOST_WORDS]


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
    if len(names) != 1:
        return [_Found(name=name, dtype=model.input_dtype, full_shape=None) for name in names]
    # What it was built on says how many items were in one call.
    shapes = (model.get_build_config() or {}).get("input_shape")
    by_name: dict[str, Any] = shapes if isinstance(shapes, dict) else {names[0]: shapes}
    if isinstance(shapes, list | tuple) and shapes and all(map(_is_shape, shapes)):
        by_name = {f"{names[0]}_{number}": shape for number, shape in enumerate(shapes)}
    if not by_name or not all(map(_is_shape, by_name.values())):
        raise ModelRefusedError(
            f"{where} does not say what it takes; call it on its arrays, or "
            "model.build((None, …)), before you publish it"
        )
    return [
        _Found(name=str(name), dtype=model.input_dtype, full_shape=(None, *by_name[name][1:]))
        for name in (sorted(by_name) if isinstance(shapes, dict) else by_name)
    ]


def _is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, list | tuple)
        and len(shape) > 0
        and all(size is None or isinstance(size, int) for size in shape)
    )


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
    if any(taken.full_shape is None for taken in inputs):
        return unknown
    try:
        tensors = [keras.KerasTensor(taken.full_shape, dtype=taken.dtype) for taken in inputs]
        return _named(model.compute_output_spec(packed_inputs(model, tensors)), "outputs")
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
    if len(inputs) > MAX_TENSORS:
        yield f"takes {len(inputs)} inputs, over {MAX_TENSORS}", "join some in one array"
    for taken in inputs:
        if taken.full_shape is None:
            remedy = "give it one argument: an array, or a dict or list of them"
            yield f"takes several arguments: {', '.join(each.name for each in inputs)}", remedy
        elif taken.dtype not in get_args(Dtype):
            yield f"takes {taken}", ""
        if taken.is_sparse:
            yield f"takes sparse items: {taken}", "build it on a dense Input"


def _unsupported_outputs(
    outputs: Sequence[_Found], inputs: Sequence[_Found]
) -> Iterator[tuple[str, str]]:
    if len(outputs) > MAX_TENSORS:
        yield f"gives {len(outputs)} outputs, over {MAX_TENSORS}", "join some in one array"
    own_items = {None, *(taken.full_shape[0] for taken in inputs if taken.full_shape)}
    for given in outputs:
        if given.dtype == "string" or given.dtype not in get_args(Dtype):
            yield f"gives {given}", "let it end in numbers"
        if given.full_shape is None:
            continue
        if not given.full_shape or given.full_shape[0] not in own_items:
            whole = f"{given.name} ({given.dtype} {text_of(list(given.full_shape))})"
            yield f"gives {whole} for all items together", "keep the axis of the items"
