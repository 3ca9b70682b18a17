"""The rows of each kind of output."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np

from fornada.errors import UsageError
from fornada.tensors import OutputTensor
from fornada.trust.printable import printable_json
from producer.exporting.rows import Column, Record, Rows, short
from producer.results import ShardResult

_TOP_K = 3


def rows_of(output: OutputTensor, *, model: str, top_k: int | None) -> Rows:
    """How items with such outputs become rows.

    Args:
        output: The model's output.
        model: `name:version` of the model.
        top_k: How many of the likeliest classes to list; 3 by default.

    Raises:
        UsageError: Two columns would have the same name, or outputs of this kind have no likeliest
            classes, or fit no row.
    """
    if output.kind == "probabilities":
        top_k = min(_TOP_K if top_k is None else top_k, output.width)
        return ClassRows(output=output, model=model, top_k=top_k)
    if top_k is not None:
        raise UsageError(
            f"--top-k lists the likeliest classes, and {model} gives {output.kind}; leave it out"
        )
    match output.kind:
        case "binary":
            return BinaryRows(output=output, model=model)
        case "multilabel":
            return MultilabelRows(output=output, model=model)
        case "values":
            return ValueRows(output=output, model=model)
        case _:
            return VectorRows(output=output, model=model)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassRows(Rows):
    """label and score, top_labels and top_scores, probabilities."""

    top_k: int

    @property
    def own_columns(self) -> list[Column]:
        """As `Rows`."""
        return [
            Column("label", "text"),
            Column("score", "number"),
            Column("top_labels", "text", length=0),
            Column("top_scores", "number", length=0),
            Column("probabilities", "number", length=self.output.width),
        ]

    def own_cells(self, part: ShardResult) -> list[Any]:
        """As `Rows`."""
        labels, classes = part.labels, self.output.columns
        order = np.argsort(-part.matrix, axis=1, kind="stable")[:, : self.top_k]
        scores = short(np.take_along_axis(part.matrix, order, axis=1))
        known = [label is not None for label in labels]
        top_labels = [
            [classes[number] for number in numbers] if is_known else []
            for is_known, numbers in zip(known, order.tolist(), strict=True)
        ]
        top_scores = [row if is_known else [] for is_known, row in zip(known, scores, strict=True)]
        return [labels, part.scores, top_labels, top_scores, part.matrix]

    def flat_header(self) -> list[str]:
        """As `Rows`."""
        places = range(2, self.top_k + 1)
        top = [f"top{place}_{what}" for place in places for what in ("label", "score")]
        probabilities = _named_after(self.output.columns)
        return ["item_id", "label", "score", *top, *probabilities, "error", "model"]

    def flat_row(self, record: Record) -> list[object]:
        """As `Rows`."""
        pairs = zip(record["top_labels"], record["top_scores"], strict=True)
        top = [cell for pair in pairs for cell in pair] or [""] * (2 * self.top_k)
        return [record["item_id"], *top, *record["probabilities"], *_last(record)]


@dataclass(frozen=True, kw_only=True, slots=True)
class BinaryRows(Rows):
    """label and its score, and what the model gives: the probability of the second class."""

    @property
    def own_columns(self) -> list[Column]:
        """As `Rows`."""
        (second,) = _named_after(self.output.columns)
        return [Column("label", "text"), Column("score", "number"), Column(second, "number")]

    def own_cells(self, part: ShardResult) -> list[Any]:
        """As `Rows`."""
        return [part.labels, part.scores, part.matrix[:, 0]]


@dataclass(frozen=True, kw_only=True, slots=True)
class MultilabelRows(Rows):
    """labels and scores of the classes that apply, probabilities of all."""

    @property
    def own_columns(self) -> list[Column]:
        """As `Rows`."""
        return [
            Column("labels", "text", length=0),
            Column("scores", "number", length=0),
            Column("probabilities", "number", length=self.output.width),
        ]

    def own_cells(self, part: ShardResult) -> list[Any]:
        """As `Rows`."""
        rows = zip(part.labels, short(part.matrix), part.applies.tolist(), strict=True)
        labels, scores = [], []
        for label, numbers, which in rows:
            labels.append(None if label is None else list(label))
            scores.append(None if label is None else list(compress(numbers, which)))
        return [labels, scores, part.matrix]

    def flat_header(self) -> list[str]:
        """As `Rows`."""
        probabilities = _named_after(self.output.columns)
        return ["item_id", "labels", "scores", *probabilities, "error", "model"]

    def flat_row(self, record: Record) -> list[object]:
        """As `Rows`; lists are JSON arrays, since names may have any separator in them."""
        lists = [record["labels"], record["scores"]]
        listed = [None if each is None else printable_json(each) for each in lists]
        return [record["item_id"], *listed, *record["probabilities"], *_last(record)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueRows(Rows):
    """A column for each value, by its name.

    Raises:
        UsageError: Two columns would have the same name.
    """

    def __post_init__(self) -> None:
        columns = self.flat_header()
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise UsageError(
                f"{self.model} has values named {', '.join(twice)}, like another column of the "
                "export; use --format npy, or publish it with other names"
            )

    @property
    def own_columns(self) -> list[Column]:
        """As `Rows`."""
        return [Column(name, "number") for name in self.output.columns]

    def own_cells(self, part: ShardResult) -> list[Any]:
        """As `Rows`."""
        return list(part.matrix.T)


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorRows(Rows):
    """The numbers as one list, named after the kind; in CSV a column for each.

    Raises:
        UsageError: An item's numbers are no vector.
    """

    def __post_init__(self) -> None:
        if len(self.output.shape) != 1:
            raise UsageError(
                f"{self.model} gives an array of shape {self.output.shape} per item, which fits no "
                "row; use --format npy or npz"
            )

    @property
    def own_columns(self) -> list[Column]:
        """As `Rows`."""
        return [Column(self.output.kind, "number", length=self.output.width)]

    def own_cells(self, part: ShardResult) -> list[Any]:
        """As `Rows`."""
        return [part.matrix]

    def flat_header(self) -> list[str]:
        """As `Rows`."""
        numbers = [f"{self.output.kind[0]}_{number}" for number in range(self.output.width)]
        return ["item_id", *numbers, "error", "model"]

    def flat_row(self, record: Record) -> list[object]:
        """As `Rows`."""
        return [record["item_id"], *record[self.output.kind], *_last(record)]


def _named_after(classes: Sequence[str]) -> list[str]:
    return [f"p_{name}" for name in classes]


def _last(record: Record) -> list[object]:
    return [record["error"], record["model"]]
