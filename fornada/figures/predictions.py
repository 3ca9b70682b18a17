"""Which classes were predicted, and how sure the model was: counts that add up over shards."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fornada.formats.items import Array
from fornada.formats.tensor_file import Column
from fornada.records import MOST_COUNT, Count, Record
from fornada.tensors import BINARY_CLASSES, CLASS_KINDS, OutputTensor

#: Classes are counted of outputs that have no more of them.
MOST_CLASSES = 100
#: The upper ends of the bins of confidence, the last one included. They are narrow towards 1, where
#: most of a trained model's predictions are.
CONFIDENCE_ENDS = (
    *(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    *(0.95, 0.98, 0.99, 0.995, 0.999, 1.0),
)
_BINS = len(CONFIDENCE_ENDS)


class OutputFigures(Record):
    """What was predicted for some items, by one output that names classes.

    The confidence of an item is the probability of its own class; of labels that apply together,
    that of the least certain decision. Items without a result do not count.
    """

    #: Items of each class, in the model's order; of labels that apply together, of each label.
    #: Absent of more than MOST_CLASSES.
    classes: list[Count] | None = Field(min_length=1, max_length=MOST_CLASSES, default=None)
    #: Items by confidence: in each bin of CONFIDENCE_ENDS, those above the end before.
    confidence: Annotated[list[Count], Field(min_length=_BINS, max_length=_BINS)]
    #: Sum of the confidences, for their mean.
    confidence_sum: float = Field(ge=0, le=MOST_COUNT)

    @property
    def item_count(self) -> int:
        """Items with a result."""
        return sum(self.confidence)

    @property
    def mean_confidence(self) -> float | None:
        """The mean confidence; `None` without items."""
        count = self.item_count
        return min(1.0, self.confidence_sum / count) if count else None

    def fits(self, output: OutputTensor) -> bool:
        """Whether they can be figures of that output."""
        count = len(class_names(output))
        return count > 0 and len(self.classes or ()) == (count if count <= MOST_CLASSES else 0)

    def plus(self, other: "OutputFigures") -> "OutputFigures":
        """The figures of both; classes only where both have as many."""
        classes = None
        if self.classes is not None and len(self.classes) == len(other.classes or ()):
            classes = _sums(self.classes, other.classes or ())
        return OutputFigures(
            classes=classes,
            confidence=_sums(self.confidence, other.confidence),
            confidence_sum=min(self.confidence_sum + other.confidence_sum, MOST_COUNT),
        )


def predicted_by(
    outputs: Column, output: OutputTensor, *, failed: Sequence[int] = ()
) -> OutputFigures | None:
    """What an output predicts for some items; `None` of one that names no classes.

    Args:
        outputs: Numbers [items, *output.shape]; rows with NaN or infinity do not count.
        output: Its kind, classes and threshold.
        failed: Positions of items without a result.
    """
    if isinstance(outputs, list) or outputs.dtype.hasobject or output.kind not in CLASS_KINDS:
        return None
    rows = outputs.reshape(len(outputs), output.width)
    if failed:
        rows = np.delete(rows, failed, axis=0)
    if rows.dtype.kind != "f":
        rows = rows.astype(np.float64)
    if output.kind == "probabilities":
        return _of_one_class(rows, output.width)
    return _of_decisions(rows, output)


def class_names(output: OutputTensor) -> list[str]:
    """The classes that an output tells apart, two if it is binary; none of other kinds."""
    if output.kind == "binary":
        return list(output.classes or BINARY_CLASSES)
    return output.columns if output.kind in CLASS_KINDS else []


def _of_one_class(rows: Array, class_count: int) -> OutputFigures:
    if class_count > MOST_CLASSES:
        confidence = rows.max(axis=1)
        return _of(confidence[np.isfinite(confidence)], None)
    # For few classes, reducing along the rows takes ten times as long.
    columns = np.ascontiguousarray(rows.T)
    confidence = columns.max(axis=0)
    known = np.isfinite(confidence)
    classes = np.count_nonzero(columns == confidence, axis=1)
    if classes.sum() != len(rows) or not known.all():
        # Of equals, the first class counts.
        classes = np.bincount(rows.argmax(axis=1)[known], minlength=class_count)
    return _of(confidence[known], classes.tolist())


def _of_decisions(rows: NDArray[Any], output: OutputTensor) -> OutputFigures:
    applies = rows >= output.least_probability
    confidence = np.where(applies, rows, 1 - rows).min(axis=1)
    known = np.isfinite(confidence)
    classes = None
    if output.width <= MOST_CLASSES:
        classes = applies[known].sum(axis=0).tolist()
        if output.kind == "binary":
            classes = [int(known.sum()) - classes[0], classes[0]]
    return _of(confidence[known], classes)


def _of(confidence: Array, classes: list[int] | None) -> OutputFigures:
    # A softmax of float32 may exceed 1 slightly, and what is called a probability may be none.
    inside = np.clip(confidence.astype(np.float64), 0, 1)
    # Looking for the ends among the values takes a third of the reverse.
    below = np.searchsorted(np.sort(inside), CONFIDENCE_ENDS, side="right")
    return OutputFigures(
        classes=classes,
        confidence=np.diff(below, prepend=0).tolist(),
        confidence_sum=round(float(inside.sum()), 6),
    )


def _sums(some: Sequence[int], others: Sequence[int]) -> list[int]:
    # A forged outcome may have any count, and no sum of them may keep a job from its end.
    return [min(one + other, MOST_COUNT) for one, other in zip(some, others, strict=True)]
