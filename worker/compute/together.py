"""Predict the items of several callers together, each shape as one request."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fornada.formats.rows import Rows
from fornada.jobs.items import ItemGroup, Items, Predicted
from fornada.records import ItemError
from fornada.tensors import InputTensor, text_of

#: As `Batcher.predict_groups`.
PredictGroups = Callable[[Sequence[Rows]], list[Predicted]]

_Shapes = tuple[tuple[int, ...], ...]


def predict_together(predict: PredictGroups, callers: Sequence[Items]) -> list[list[Predicted]]:
    """For each caller, what the model gives for each of its groups."""
    if len(callers) == 1:
        return [predict([group.rows for group in callers[0].groups])]
    by_shape: dict[_Shapes, list[tuple[int, Rows]]] = {}
    for caller, items in enumerate(callers):
        for group in items.groups:
            by_shape.setdefault(group.rows.shapes, []).append((caller, group.rows))
    together = predict([Rows.joined([rows for _, rows in alike]) for alike in by_shape.values()])
    parts: dict[tuple[int, _Shapes], Predicted] = {}
    for (shapes, alike), predicted in zip(by_shape.items(), together, strict=True):
        shares = predicted.parts([len(rows) for _, rows in alike])
        for (caller, _), share in zip(alike, shares, strict=True):
            parts[caller, shapes] = share
    return [
        [parts[caller, group.rows.shapes] for group in items.groups]
        for caller, items in enumerate(callers)
    ]


def joined(callers: Sequence[Items], item_counts: Sequence[int]) -> Items:
    """The items of all callers, one after the other, as those of one."""
    if len(callers) == 1:
        return callers[0]
    by_shape: dict[_Shapes, list[tuple[int, ItemGroup]]] = {}
    errors, first = [], 0
    for items, item_count in zip(callers, item_counts, strict=True):
        for group in items.groups:
            by_shape.setdefault(group.rows.shapes, []).append((first, group))
        errors += [ItemError(index=first + e.index, reason=e.reason) for e in items.errors]
        first += item_count
    groups = [
        ItemGroup(
            rows=Rows.joined([group.rows for _, group in alike]),
            positions=np.concatenate([start + group.positions for start, group in alike]),
        )
        for alike in by_shape.values()
    ]
    return Items(groups=groups, errors=errors)


def call_sizes(
    items: Items, predicted: Sequence[Predicted], *, takes: Sequence[InputTensor]
) -> dict[str, Any]:
    """The fields of an outcome that say how many rows the predict calls had.

    Args:
        items: The items.
        predicted: What the model gave for each of their groups.
        takes: The model's inputs.
    """
    if not any(tensor.is_open for tensor in takes):
        return {"tile_items": next((each.tile_items for each in predicted), None)}
    return {
        "tiles": {
            ", ".join(text_of(list(shape)) for shape in group.rows.shapes): each.tile_items
            for group, each in zip(items.groups, predicted, strict=True)
        }
    }
