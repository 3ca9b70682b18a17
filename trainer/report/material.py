"""What a training report shows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fornada.formats.items import Array
from fornada.tensors import OutputTensor
from model_store.manifest import ModelDraft, Training


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRow:
    """One layer of the network."""

    name: str
    #: Its class: `Dense`, `Conv2D`, …
    kind: str
    #: Of one item. `None`: the layer has several outputs, or states none.
    output_shape: tuple[int | None, ...] | None
    parameter_count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Items that the model was not fitted on, and what it gives for them."""

    #: uint8 [items, height, width], [..., 1] or [..., 3]; or float32 vectors, int32 tokens, …;
    #: `None` of several inputs, which are not shown.
    items: Array | None
    #: As `targets_of` returns them.
    targets: Array
    #: float32 [items, outputs].
    outputs: Array


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportMaterial:
    """Everything a report shows. The same material gives the same bytes."""

    #: Model, tensors, metrics, package versions; and the training, where Fornada did it.
    draft: ModelDraft
    layers: Sequence[LayerRow]
    #: Curves by name (`loss`, `val_accuracy`, …), one value per epoch.
    history: Mapping[str, Sequence[float]]
    #: By the name of the output, where targets are known.
    tested: Mapping[str, Outcome] = field(default_factory=dict)
    #: The epoch, from 1, whose weights the model has; `None`: the last.
    best_epoch: int | None = None

    @property
    def epoch_count(self) -> int:
        """Epochs trained."""
        return max((len(values) for values in self.history.values()), default=0)

    @property
    def parameter_count(self) -> int:
        """Parameters of all layers."""
        return sum(layer.parameter_count for layer in self.layers)


def targets_by_output(given: Any, outputs: Sequence[OutputTensor]) -> dict[str, Array | None]:
    """The targets of each output, by its name; `None` where there are none.

    Args:
        given: As the model's loss takes them: an array of the only output, or arrays of several by
            name or in their order.
        outputs: What the model gives.
    """
    names = [output.name for output in outputs]
    by_name: Mapping[str, Any] = {}
    if isinstance(given, Mapping):
        by_name = given
    elif len(names) == 1:
        by_name = {names[0]: given}
    elif isinstance(given, list | tuple) and len(given) == len(names):
        by_name = dict(zip(names, given, strict=True))
    found = {name: by_name.get(name) for name in names}
    return {name: None if each is None else np.asarray(each) for name, each in found.items()}


def targets_of(given: Array | None, output: OutputTensor) -> Array | None:
    """The targets as a report takes them; `None` where it cannot tell what they mean.

    Of one class per item: int64 [items]. Of labels: int64 0 or 1 [items, classes]. Of values: as
    given, [items] or [items, values].

    Args:
        given: As the model's loss takes them.
        output: What the model gives.
    """
    if given is None:
        return None
    count, width = len(given), output.width
    flat = given.reshape(count) if math.prod(given.shape[1:]) == 1 else None
    is_row = given.shape == (count, width)
    found: Array | None = None
    if output.kind == "values":
        found = flat if width == 1 else given if is_row else None
    elif output.kind == "multilabel":
        found = _whole(given, 2) if is_row else None
    elif output.kind == "binary" or (output.kind == "probabilities" and flat is not None):
        found = None if flat is None else _whole(flat, max(width, 2))
    elif output.kind == "probabilities" and is_row:
        # As categorical cross-entropy takes them.
        found = given.argmax(axis=1) if (np.count_nonzero(given, axis=1) == 1).all() else None
    return found


def _whole(targets: Array, end: int) -> Array | None:
    """The targets as int64, if all are whole numbers from 0 to below `end`."""
    if targets.dtype.kind not in "buif" or targets.size == 0:
        return None
    whole = targets.astype(np.int64)
    fits = (whole == targets).all() and whole.min() >= 0 and whole.max() < end
    return whole if fits else None


def train_item_counts(training: Training) -> tuple[int, int]:
    """The training items that the weights were fitted on, and those held out for validation."""
    # As Keras splits them.
    fitted = math.floor(training.item_count * (1 - training.parameters.get("validation_split", 0)))
    return fitted, training.item_count - fitted


def layer_rows(model: Any) -> list[LayerRow]:
    """The layers of a built `keras.Model` in order, without input layers."""
    return [
        LayerRow(
            name=layer.name,
            kind=type(layer).__name__,
            output_shape=_output_shape(layer),
            parameter_count=int(layer.count_params()),
        )
        for layer in model.layers
        if type(layer).__name__ != "InputLayer"
    ]


def _output_shape(layer: Any) -> tuple[int | None, ...] | None:
    try:
        return tuple(None if size is None else int(size) for size in layer.output.shape[1:])
    # Keras: no output yet, called more than once, several outputs.
    except (AttributeError, ValueError):
        return None
