"""Predict the items of several callers together, each shape as one request."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fornada.formats.items import Array
from fornada.jobs.items import Items, Predicted
from fornada.tensors import InputTensor, text_of

#: As `Batcher.predict_groups`.
PredictGroups = Callable[[Sequence[Array]], list[Predicted]]


def predict_together(predict: PredictGroups, callers: Sequence[Items]) -> list[list[Predicted]]:
    """For each caller, what the model gives for each of its groups."""
    if len(callers) == 1:
        return [predict([group.rows for group in callers[0].groups])]
    by_shape: dict[tuple[int, ...], list[tuple[int, Array]]] = {}
    for caller, items in enumerate(callers):
        for group in items.groups:
            by_shape.setdefault(group.rows.shape[1:], []).append((caller, group.rows))
    together = predict([np.concatenate([rows for _, rows in alike]) for alike in by_shape.values()])
    parts: dict[tuple[int, tuple[int, ...]], Predicted] = {}
    for (shape, alike), predicted in zip(by_shape.items(), together, strict=True):
        shares = predicted.parts([len(rows) for _, rows in alike])
        for (caller, _), share in zip(alike, shares, strict=True):
            parts[caller, shape] = share
    return [
        [parts[caller, group.rows.shape[1:]] for group in items.groups]
        for caller, items in enumerate(callers)
    ]


def call_sizes(
    rows_for: Callable[[Sequence[int]], int], items: Items, *, takes: InputTensor
) -> dict[str, Any]:
    """The fields of an outcome that say how many rows the predict calls had."""
    if not takes.is_open:
        return {"tile_items": rows_for(takes.fixed_shape)}
    shapes = [group.rows.shape[1:] for group in items.groups]
    return {"tiles": {text_of(list(shape)): rows_for(shape) for shape in shapes}}
