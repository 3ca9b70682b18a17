"""The outputs of a call of `predict`, in the order of its items."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fornada.calls.frames import AnswerFrame
from fornada.errors import PredictionErrors
from fornada.formats.tensor_file import Column
from fornada.jobs.items import blank_column
from fornada.tensors import OutputTensor
from producer.inputs.data.calls import CallItems

#: What `predict` returns: the output of a model with one, dtype [items, *shape], or a list of an
#: array an item if its shape is open; of a model with several, a dict of them by name.
Prediction = NDArray[Any] | list[NDArray[Any]] | dict[str, NDArray[Any] | list[NDArray[Any]]]


def outputs_of(
    answer: AnswerFrame | None,
    items: CallItems,
    *,
    gives: list[OutputTensor],
    errors: Literal["raise", "nan"],
) -> Prediction:
    """The outputs of all items, NaN or blank where an item failed; arrays are read-only.

    Args:
        answer: The answer to the call of the items that could be sent, if there were any.
        items: The items.
        gives: The model's outputs.
        errors: Whether to raise if an item failed.

    Raises:
        PredictionErrors: Some items failed, and `errors` is `raise`.
        MessageError: The answer is not of this model, or of other items.
    """
    found = dict(items.errors)
    sent_count = len(items.numbers)
    columns = None if answer is None else answer.columns(gives, item_count=sent_count)
    if answer is not None:
        rows = answer.header.row_errors.items()
        found = {int(items.numbers[row]): why for row, why in rows if row < sent_count} | found
    if columns is None or found or sent_count < items.item_count:
        columns = [
            _placed(None if columns is None else columns[at], tensor, items, found)
            for at, tensor in enumerate(gives)
        ]
    named = dict(zip((tensor.name for tensor in gives), columns, strict=True))
    outputs: Prediction = columns[0]
    if len(gives) > 1:
        outputs = {**named}
    if found and errors == "raise":
        first = min(found)
        raise PredictionErrors(
            f"{len(found)} of {items.item_count} items failed; item {first}: {found[first]}",
            outputs=outputs,
            errors=found,
        )
    return outputs


def _placed(
    column: Column | None, tensor: OutputTensor, items: CallItems, failed: dict[int, str]
) -> Column:
    """One output of all items."""
    placed = blank_column(tensor, items.item_count)
    good = [n for n, number in enumerate(items.numbers.tolist()) if number not in failed]
    if column is not None and isinstance(placed, list):
        for row in good:
            placed[int(items.numbers[row])] = column[row]
    elif column is not None and not isinstance(placed, list):
        placed[items.numbers[good]] = np.asarray(column)[good]
    for array in placed if isinstance(placed, list) else [placed]:
        array.flags.writeable = False
    return placed
