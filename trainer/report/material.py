"""What a training report shows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fornada.formats.items import Array
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
class ReportMaterial:
    """Everything a report shows. The same material gives the same bytes."""

    #: Model, task, classes, metrics, package versions; and the training, where Fornada did it.
    draft: ModelDraft
    layers: Sequence[LayerRow]
    #: Curves by name (`loss`, `val_accuracy`, …), one value per epoch.
    history: Mapping[str, Sequence[float]]
    #: uint8 [items, height, width], [..., 1] or [..., 3]; or float32 vectors, int32 tokens, ….
    test_items: Array
    #: Classification: int [items], positions in the classes. Regression: float [items].
    test_targets: Array
    #: float32 [items, outputs]: one output per class, or the one value of a regression.
    test_outputs: Array
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
