"""What a training report shows."""

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

    #: Model, task, classes, metrics and package versions.
    draft: ModelDraft
    #: Data set, recipe and plan.
    training: Training
    #: Training items held out for validation.
    validation_item_count: int
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
    def train_item_count(self) -> int:
        """Items that the weights were fitted on."""
        return self.training.item_count - self.validation_item_count

    @property
    def epoch_count(self) -> int:
        """Epochs trained."""
        return max((len(values) for values in self.history.values()), default=0)

    @property
    def parameter_count(self) -> int:
        """Parameters of all layers."""
        return sum(layer.parameter_count for layer in self.layers)


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
