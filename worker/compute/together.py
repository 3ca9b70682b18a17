"""Predict the items of several callers together: one call of the batcher for each shape."""

from collections.abc import Callable, Sequence

import numpy as np

from fornada.formats.items import Array
from fornada.jobs.items import Items, Predicted


def predict_together(
    predict: Callable[[Array], Predicted], callers: Sequence[Items]
) -> list[list[Predicted]]:
    """For each caller, what `predict` gives for each of its groups."""
    if len(callers) == 1:
        return [callers[0].predicted(predict)]
    by_shape: dict[tuple[int, ...], list[tuple[int, Array]]] = {}
    for caller, items in enumerate(callers):
        for group in items.groups:
            by_shape.setdefault(group.rows.shape[1:], []).append((caller, group.rows))
    parts: dict[tuple[int, tuple[int, ...]], Predicted] = {}
    for shape, alike in by_shape.items():
        rows = np.concatenate([rows for _, rows in alike])
        together = predict(rows).parts([len(rows) for _, rows in alike])
        parts |= {(caller, shape): part for (caller, _), part in zip(alike, together, strict=True)}
    return [
        [parts[caller, group.rows.shape[1:]] for group in items.groups]
        for caller, items in enumerate(callers)
    ]
