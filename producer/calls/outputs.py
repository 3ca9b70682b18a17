"""What a call of `predict` gave: the outputs of its items, in their order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from fornada.calls.frames import AnswerFrame
from fornada.errors import PredictionErrors
from fornada.formats.tensor_file import Column
from fornada.jobs.items import blank_column
from fornada.tensors import OutputTensor
from model_store.manifest import ModelManifest
from producer.inputs.data.calls import CallItems

#: What `predict` returns: the output of a model with one, dtype [items, *shape], or a list of an
#: array an item if its shape is open; of a model with several, a dict of them by name.
Prediction = NDArray[Any] | list[NDArray[Any]] | dict[str, NDArray[Any] | list[NDArray[Any]]]
#: What to do when items failed.
OnErrors = Literal["raise", "nan"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CallResult:
    """The outputs of all items of a call; arrays are read-only."""

    model: ModelManifest
    item_count: int
    #: One for each output of the model, of all items; NaN or blank where an item failed.
    columns: list[Column]
    #: Number of an item that failed -> why.
    errors: Mapping[int, str]
    #: The caller's id of each item; `None` for their numbers.
    item_ids: list[str] | None

    @classmethod
    def of(cls, answer: AnswerFrame | None, items: CallItems, *, model: ModelManifest) -> Self:
        """What the answer says of all items.

        Args:
            answer: The answer to the call of the items that could be sent, if there were any.
            items: The items.
            model: The model.

        Raises:
            MessageError: The answer is not of this model, or of other items.
        """
        gives, found = model.outputs, dict(items.errors)
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
        return cls(
            model=model,
            item_count=items.item_count,
            columns=columns,
            errors=found,
            item_ids=items.item_ids,
        )

    @property
    def outputs(self) -> Prediction:
        """What `predict` returns."""
        if len(self.columns) == 1:
            return self.columns[0]
        names = (tensor.name for tensor in self.model.outputs)
        return dict(zip(names, self.columns, strict=True))

    def checked(self, errors: OnErrors = "raise") -> Prediction:
        """The outputs.

        Raises:
            PredictionErrors: Some items failed, and `errors` is `raise`.
        """
        if self.errors and errors == "raise":
            first = min(self.errors)
            raise PredictionErrors(
                f"{len(self.errors)} of {self.item_count} items failed; item {first}: "
                f"{self.errors[first]}",
                outputs=self.outputs,
                errors=self.errors,
            )
        return self.outputs


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
