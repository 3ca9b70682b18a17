"""The columns of each kind of output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import UsageError
from fornada.tensors import OutputTensor, text_of
from fornada.trust.printable import printable_json
from producer.exporting.cells import Cells
from producer.exporting.rows import TEXT, Column, OutputRows, Rows
from producer.item_results import OutputResults

_TOP_K = 3
#: Float cells of more axes are missing as a whole; NaN says so in others.
_MOST_AXES_OF_NAN = 2


def rows_of(gives: Sequence[OutputTensor], *, model: str, top_k: int | None = None) -> Rows:
    """How items with such outputs become rows.

    Args:
        gives: The model's outputs.
        model: `name:version` of the model.
        top_k: How many of the likeliest classes to list; 3 by default.

    Raises:
        UsageError: Two columns would have the same name, or no output has likeliest classes.
    """
    kinds = sorted({output.kind for output in gives})
    if top_k is not None and "probabilities" not in kinds:
        raise UsageError(
            f"top_k lists the likeliest classes, and {model} gives {', '.join(kinds)}; leave it out"
        )
    most = _TOP_K if top_k is None else top_k
    return Rows(outputs=[_rows_of(output, top_k=most) for output in gives], model=model)


def _rows_of(output: OutputTensor, *, top_k: int) -> OutputRows:
    match output.kind:
        case "probabilities":
            return ClassRows(output=output, top_k=min(top_k, output.width))
        case "binary":
            return BinaryRows(output=output)
        case "multilabel":
            return MultilabelRows(output=output)
        case "values":
            return ValueRows(output=output)
        case _:
            return TensorRows(output=output)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassRows(OutputRows):
    """label and score, top_labels and top_scores, probabilities."""

    top_k: int

    @property
    def columns(self) -> list[Column]:
        """As `OutputRows`."""
        score, dtype = _score_dtype(self.output), _dtype(self.output)
        return [
            Column("label", TEXT),
            Column("score", score),
            Column("top_labels", TEXT, (None,)),
            Column("top_scores", score, (None,)),
            Column("probabilities", dtype, (self.output.width,)),
        ]

    def cells(self, found: OutputResults) -> list[Cells]:
        """As `OutputRows`."""
        classes, known = self.output.columns, found.is_finite
        matrix = found.matrix.astype(_score_dtype(self.output), copy=False)
        order = np.argsort(-matrix, axis=1, kind="stable")[:, : self.top_k]
        scores = np.take_along_axis(matrix, order, axis=1)
        lengths = np.where(known, order.shape[1], 0)
        return [
            _label_cells(found),
            Cells(found.scores),
            Cells(order[known].ravel(), texts=classes, lengths=lengths),
            Cells(scores[known].ravel(), lengths=lengths),
            _cells(found, found.matrix),
        ]

    def flat_header(self) -> list[str]:
        """As `OutputRows`."""
        places = range(2, self.top_k + 1)
        top = [f"top{place}_{what}" for place in places for what in ("label", "score")]
        return ["label", "score", *top, *_named_after(self.output.columns)]

    def flat_cells(self, cells: Sequence[list[Any]]) -> list[list[Any]]:
        """As `OutputRows`."""
        _, _, *top, probabilities = cells
        places = [
            [row[place] if row else "" for row in each]
            for place in range(self.top_k)
            for each in top
        ]
        return [*places, *_columns_of(probabilities, self.output)]


@dataclass(frozen=True, kw_only=True, slots=True)
class BinaryRows(OutputRows):
    """label and its score, and what the model gives: the probability of the second class."""

    @property
    def columns(self) -> list[Column]:
        """As `OutputRows`."""
        (second,), score = _named_after(self.output.columns), _score_dtype(self.output)
        own = Column(second, _dtype(self.output))
        return [Column("label", TEXT), Column("score", score), own]

    def cells(self, found: OutputResults) -> list[Cells]:
        """As `OutputRows`."""
        return [_label_cells(found), Cells(found.scores), _cells(found, found.matrix[:, 0])]


@dataclass(frozen=True, kw_only=True, slots=True)
class MultilabelRows(OutputRows):
    """labels and scores of the classes that apply, probabilities of all."""

    @property
    def columns(self) -> list[Column]:
        """As `OutputRows`."""
        dtype = _dtype(self.output)
        return [
            Column("labels", TEXT, (None,)),
            Column("scores", dtype, (None,)),
            Column("probabilities", dtype, (self.output.width,)),
        ]

    def cells(self, found: OutputResults) -> list[Cells]:
        """As `OutputRows`."""
        applies, unknown = found.applies, ~found.is_finite
        lengths = applies.sum(axis=1)
        return [
            Cells(np.nonzero(applies)[1], unknown, texts=found.classes, lengths=lengths),
            Cells(found.matrix[applies], unknown, lengths=lengths),
            _cells(found, found.matrix),
        ]

    def flat_header(self) -> list[str]:
        """As `OutputRows`."""
        return ["labels", "scores", *_named_after(self.output.columns)]

    def flat_cells(self, cells: Sequence[list[Any]]) -> list[list[Any]]:
        """As `OutputRows`; lists are JSON arrays, since names may have any separator in them."""
        *lists, probabilities = cells
        listed = [
            [None if each is None else printable_json(each) for each in column] for column in lists
        ]
        return [*listed, *_columns_of(probabilities, self.output)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueRows(OutputRows):
    """A column for each value, by its name."""

    @property
    def columns(self) -> list[Column]:
        """As `OutputRows`."""
        return [Column(name, _dtype(self.output)) for name in self.output.columns]

    def cells(self, found: OutputResults) -> list[Cells]:
        """As `OutputRows`."""
        return [_cells(found, column) for column in found.matrix.T]


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorRows(OutputRows):
    """All of an item's values as one list, of lists if they have several axes."""

    @property
    def columns(self) -> list[Column]:
        """As `OutputRows`."""
        return [Column("", _dtype(self.output), tuple(self.output.shape))]

    def cells(self, found: OutputResults) -> list[Cells]:
        """As `OutputRows`."""
        return [_cells(found, found.rows)]

    def flat_header(self) -> list[str]:
        """As `OutputRows`: a column for each number of a vector."""
        match self.output.shape:
            case []:
                return [""]
            case [int() as width]:
                return [f"{self.output.kind[0]}_{number}" for number in range(width)]
        raise UsageError(
            f"an item of output {self.output.name!r} has shape {text_of(self.output.shape)}, which "
            "fits no row of CSV; use format jsonl, parquet, arrow, npz or safetensors"
        )

    def flat_cells(self, cells: Sequence[list[Any]]) -> list[list[Any]]:
        """As `OutputRows`."""
        return _columns_of(cells[0], self.output) if self.output.shape else list(cells)


def _label_cells(found: OutputResults) -> Cells:
    return Cells(found.numbers, ~found.is_finite, texts=found.classes)


def _cells(found: OutputResults, values: NDArray[Any] | list[Any]) -> Cells:
    """Cells of what the output has of each item."""
    ok = found.ok
    if found.output.dtype == "string":
        return Cells([_text(cell) if has else None for cell, has in zip(values, ok, strict=True)])
    if isinstance(values, list):
        return Cells([cell if has else None for cell, has in zip(values, ok, strict=True)])
    has_nan = values.dtype.kind == "f" and values.ndim <= _MOST_AXES_OF_NAN
    return Cells(values, None if has_nan or ok.all() else ~ok)


def _text(cell: Any) -> Any:
    return (
        cell.decode(errors="backslashreplace") if isinstance(cell, bytes) else [*map(_text, cell)]
    )


def _columns_of(cells: list[Any], output: OutputTensor) -> list[list[Any]]:
    """The cells of lists as a column for each place in them."""
    nothing = [None] * output.width
    rows = (nothing if cell is None else cell for cell in cells)
    return [list(column) for column in zip(*rows, strict=True)]


def _score_dtype(output: OutputTensor) -> str:
    """Of probabilities that may be missing, which whole numbers cannot be."""
    return np.result_type(output.numpy_dtype, np.float32).name


def _dtype(output: OutputTensor) -> str:
    return TEXT if output.dtype == "string" else output.numpy_dtype


def _named_after(classes: Sequence[str]) -> list[str]:
    return [f"p_{name}" for name in classes]
