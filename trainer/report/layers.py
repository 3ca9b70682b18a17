"""The layers of a Keras model, as rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRow:
    """One layer."""

    name: str
    #: Its class: `Dense`, `Conv2D`, …
    kind: str
    #: Of one item. `None`: the layer has several outputs, or states none.
    output_shape: tuple[int | None, ...] | None
    parameter_count: int


def layer_rows(model: Any) -> list[LayerRow]:
    """The layers of a built `keras.Model`, in its order; without what only takes the input."""
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
        shape = layer.output.shape
    # Keras: no output yet, called more than once, several outputs.
    except (AttributeError, ValueError):
        return None
    return _item_shape(shape)


def _item_shape(shape: Sequence[int | None]) -> tuple[int | None, ...]:
    return tuple(None if size is None else int(size) for size in shape[1:])
