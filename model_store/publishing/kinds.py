"""What kind of numbers a model gives: its last layers, loss and golden outputs tell."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import UsageError
from fornada.formats.items import Array
from fornada.tensors import Kind
from model_store.engines.keras_setup import import_keras
from model_store.signature import graph_of

#: Layers and operations whose numbers are still what they were given, or averages of it.
_LOOKED_THROUGH = {
    *("Reshape", "Flatten", "Ravel", "Squeeze", "ExpandDims", "Permute", "Transpose", "GetItem"),
    *("Cast", "Identity", "StopGradient", "Dropout", "ActivityRegularization", "Rescaling", "Take"),
    *("Average", "Mean", "Concatenate", "Stack", "Max", "Maximum", "Copy"),
    *(f"{pool}Pooling{rank}D" for pool in ("GlobalAverage", "GlobalMax") for rank in (1, 2, 3)),
}
#: From this many numbers on, a model without a loss gives an embedding.
_MIN_WIDE_EMBEDDING = 32
#: Fewer numbers of length 1 may be a direction in space.
_MIN_UNIT_EMBEDDING = 8
#: float16 rounds by less.
_TOLERANCE = 0.01
_VALUE_LOSSES = ("huber", "log_cosh", "mae", "mape", "mean_", "mse", "msle", "poisson")
_EMBEDDING_LOSSES = ("cosine", "triplet", "contrastive", "circle")


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """What a model was compiled to learn, by Keras's names."""

    name: str = ""
    from_logits: bool = False
    #: Whether metrics or targets are those of classes, whatever the loss.
    of_classes: bool = False

    @classmethod
    def of(cls, compile_config: Any, *, output: str = "", number: int = 0) -> "Loss":
        """The loss in the configuration that `model.get_compile_config()` and files have.

        Args:
            compile_config: The configuration.
            output: The name of an output, for a model of several.
            number: Its place among them.
        """
        if not isinstance(compile_config, Mapping):
            return cls()
        loss = _loss_of(compile_config.get("loss"), output, number)
        options = loss.get("config") if isinstance(loss, Mapping) else None
        hits = re.search(r"acc|auc|precision|recall", str(compile_config.get("metrics")).lower())
        return cls(
            name=_loss_name(loss),
            from_logits=isinstance(options, Mapping) and options.get("from_logits") is True,
            of_classes=hits is not None,
        )

    @property
    def is_of_values(self) -> bool:
        """Whether it measures a distance from values."""
        return self.name.startswith(_VALUE_LOSSES)

    @property
    def is_of_embeddings(self) -> bool:
        """Whether it compares outputs with one another."""
        return any(part in self.name for part in _EMBEDDING_LOSSES)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The kind of a model's outputs."""

    kind: Kind
    #: A hint for the publisher.
    hint: str | None = None


def find_kind(
    model: Any,
    outputs: Array,
    *,
    number: int,
    loss: Loss,
    has_names: bool,
    computes_floats: bool,
) -> Finding:
    """The kind of an output.

    Args:
        model: The Keras model that gave it.
        outputs: Its golden outputs, [items, *shape], whose numbers may rule a kind out.
        number: Its place among the model's outputs.
        loss: What it was compiled for.
        has_names: Whether the publisher names the outputs; an embedding has no names.
        computes_floats: Whether the outputs are floats in the model.
    """
    if outputs.ndim > 2:  # noqa: PLR2004 - items, numbers
        return Finding(kind="tensor")
    if not computes_floats:
        return Finding(kind="values")
    rows = outputs.reshape(len(outputs), -1).astype(np.float64)
    finite = np.isfinite(rows).all(axis=1)
    rows = rows[finite] if finite.any() else rows
    squashed = _squashed_by(model, number)
    kind = _class_kind(rows, squashed, loss)
    if kind is None and _is_embedding(rows, loss, has_names=has_names):
        kind = "embedding"
    if kind:
        return Finding(kind=kind)
    ended_with = partial(_ended_with, model, number)
    return Finding(kind="values", hint=_hint(rows, squashed, loss, ended_with))


def check_probabilities(model: Any, outputs: Array, kind: Kind, *, number: int, where: str) -> None:
    """Check the golden outputs of an output, a kind of probabilities that is stated.

    Args:
        model: The Keras model that gave them.
        outputs: [items, *shape].
        kind: What is stated.
        number: The output's place among the model's outputs.
        where: The model, for messages.

    Raises:
        UsageError: Some are below 0 or above 1.
    """
    numbers = outputs.astype(np.float64)
    rows = numbers[np.isfinite(numbers)]
    if ((rows >= -_TOLERANCE) & (rows <= 1 + _TOLERANCE)).all():
        return
    remedy = _ended_with(model, number, is_sigmoid=kind != "probabilities")
    raise UsageError(
        f"{where} gives numbers from {rows.min():.3g} to {rows.max():.3g}, and {kind} needs "
        f"numbers from 0 to 1; if they are logits, {remedy}"
    )


def _class_kind(rows: NDArray[np.float64], squashed: str | None, loss: Loss) -> Kind | None:
    if not ((rows >= -_TOLERANCE) & (rows <= 1 + _TOLERANCE)).all():
        return None
    of_one, sums_to_one = rows.shape[1] == 1, _is_one(rows.sum(axis=1))
    if not of_one and sums_to_one:
        return "probabilities"
    if of_one and squashed == "softmax":
        return None if sums_to_one else "binary"
    if squashed != "sigmoid" or (loss.is_of_values and not loss.of_classes):
        return None
    return "binary" if of_one else "multilabel"


def _is_embedding(rows: NDArray[np.float64], loss: Loss, *, has_names: bool) -> bool:
    width = rows.shape[1]
    if width >= _MIN_UNIT_EMBEDDING and _is_one(np.linalg.norm(rows, axis=1)):
        return True
    is_wide = width >= _MIN_WIDE_EMBEDDING and not loss.name and not has_names
    return width > 1 and (is_wide or loss.is_of_embeddings)


def _hint(
    rows: NDArray[np.float64],
    squashed: str | None,
    loss: Loss,
    ended_with: Callable[..., str],
) -> str | None:
    of_one = rows.shape[1] == 1
    if squashed == "softmax" and of_one:
        return "a softmax of one number is always 1; for two classes, end it with a sigmoid"
    if not loss.from_logits or squashed is not None:
        return None
    is_sigmoid = "binary" in loss.name or of_one
    return (
        "its loss has from_logits=True, so these are logits, which have no labels; for "
        f"probabilities and labels {ended_with(is_sigmoid=is_sigmoid)}"
    )


def _ended_with(model: Any, number: int, *, is_sigmoid: bool) -> str:
    """What to publish in place of a model that gives logits."""
    layer = 'keras.layers.Activation("sigmoid")' if is_sigmoid else "keras.layers.Softmax()"
    if graph_of(model) is None:
        return f"publish keras.Sequential([model, {layer}])"
    # A Sequential model would take float32, whatever this one takes.
    return f"publish keras.Model(model.inputs, {layer}(model.outputs[{number}]))"


def _is_one(values: NDArray[np.float64]) -> bool:
    return bool((np.abs(values - 1) <= _TOLERANCE).all())


def _squashed_by(model: Any, number: int = 0) -> str | None:
    """`softmax` or `sigmoid`, if an output of the model ends in one."""
    graph = graph_of(model)
    if graph is not None:
        return _squashed(import_keras().tree.flatten(graph.outputs)[number], {})
    if number:
        return None
    # The layers of a subclassed model are in the order in which it made them.
    layers = [layer for layer in model.layers if not _is_dropout(layer)]
    return _by_layer(layers[-1]) if layers else None


def _squashed(tensor: Any, known: dict[int, str | None]) -> str | None:
    """As `_squashed_by`, of one tensor; `known` has those of others, by their identity."""
    if id(tensor) not in known:
        known[id(tensor)] = _squashed_anew(tensor, known)
    return known[id(tensor)]


def _squashed_anew(tensor: Any, known: dict[int, str | None]) -> str | None:
    operation, node_index, tensor_index = tensor._keras_history  # noqa: SLF001 - Keras has no other way
    if isinstance(operation, import_keras().Model):
        graph = graph_of(operation)
        if graph is None:
            return _squashed_by(operation)
        return _squashed(graph.outputs[tensor_index], known)
    if not _is_looked_through(operation):
        return _by_layer(operation)
    before = operation._inbound_nodes[node_index].input_tensors  # noqa: SLF001 - as above
    found = {_squashed(tensor, known) for tensor in before}
    return found.pop() if len(found) == 1 else None


def _is_looked_through(operation: Any) -> bool:
    name = type(operation).__name__
    is_linear = name == "Activation" and _plain_name(operation.activation) == "linear"
    return name in _LOOKED_THROUGH or is_linear or _is_dropout(operation)


def _is_dropout(operation: Any) -> bool:
    name = type(operation).__name__
    return "Dropout" in name or name.startswith("Gaussian")


def _by_layer(layer: Any) -> str | None:
    if isinstance(layer, import_keras().Model):
        return _squashed_by(layer)
    if isinstance(layer, import_keras().layers.Wrapper):
        return _by_layer(layer.layer)
    activation = getattr(layer, "activation", None)
    name = _plain_name(layer if activation is None else activation)
    if name.startswith(("softmax", "sparsemax")):
        return "softmax"
    return "sigmoid" if name in {"sigmoid", "hardsigmoid"} else None


def _plain_name(activation: Any) -> str:
    """`softmaxv2` for `tf.nn.softmax`: a function's, layer's or operation's name."""
    name = getattr(activation, "__name__", None) or type(activation).__name__
    return str(name).replace("_", "").lower()


def _loss_of(loss: Any, output: str, number: int) -> Any:
    """The loss of one output; one that is given without a list or dict is that of each."""
    if isinstance(loss, list | tuple):
        found = loss[number] if number < len(loss) else None
        return _loss_of(found, output, 0)
    if isinstance(loss, Mapping) and "class_name" not in loss:
        return next(iter(loss.values())) if len(loss) == 1 else loss.get(output)
    return loss


def _loss_name(loss: Any) -> str:
    if not isinstance(loss, Mapping):
        return "" if loss is None else _snake(str(loss))
    options = loss.get("config")
    if isinstance(options, str):
        return _snake(options)
    named = options.get("name") if isinstance(options, Mapping) else None
    return _snake(str(named or loss.get("class_name")))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
