"""What an exported file says of each item: its classes, or its values."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fornada.errors import UsageError
from producer.results import ShardResult

#: Values converted to text at a time; each takes some 200 bytes meanwhile.
VALUES_AT_A_TIME = 65_536

Record = Mapping[str, object]


class Column(NamedTuple):
    """A column of a format that has types."""

    name: str
    holds: Literal["text", "number"]
    #: Length of the list in each cell, 0 where lengths differ; `None` where cells are no lists.
    length: int | None = None


class Rows(Protocol):
    """How the items of a job become rows; an item without a result has a row that says why."""

    def records(self, part: ShardResult) -> Iterator[list[Record]]:
        """The rows of a shard as JSON objects, a few at a time."""
        ...

    def flat_header(self) -> list[str]:
        """The columns of a format whose cells are no lists."""
        ...

    def flat_row(self, record: Any) -> list[object]:
        """The cells of a record in those columns."""
        ...

    @property
    def columns(self) -> list[Column]:
        """The columns of a format that has types."""
        ...

    def values(self, part: ShardResult) -> list[Any]:
        """The cells of a shard for each of `columns`: a list, or a float32 array."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassRows:
    """item_id, label and score, top_labels and top_scores, probabilities, error, model."""

    classes: Sequence[str]
    top_k: int
    model: str

    def records(self, part: ShardResult) -> Iterator[list[Record]]:
        """As `Rows`."""
        for rows, first in _blocks(part):
            order, usable = self._order(rows)
            yield [
                {
                    "item_id": part.item_ids[first + row],
                    **self._best(order[row].tolist() if usable[row] else [], values),
                    "probabilities": values,
                    "error": part.errors.get(first + row),
                    "model": self.model,
                }
                for row, values in enumerate(_short(rows))
            ]

    def _best(self, top: list[int], values: list[float | None]) -> Record:
        return {
            "label": self.classes[top[0]] if top else None,
            "score": values[top[0]] if top else None,
            "top_labels": [self.classes[number] for number in top],
            "top_scores": [values[number] for number in top],
        }

    def flat_header(self) -> list[str]:
        """As `Rows`."""
        places = range(2, self.top_k + 1)
        top = [f"top{place}_{what}" for place in places for what in ("label", "score")]
        probabilities = [f"p_{name}" for name in self.classes]
        return ["item_id", "label", "score", *top, *probabilities, "error", "model"]

    def flat_row(self, record: Any) -> list[object]:
        """As `Rows`."""
        pairs = zip(record["top_labels"], record["top_scores"], strict=True)
        top: list[object] = [cell for pair in pairs for cell in pair]
        cells = top or [""] * (2 * self.top_k)
        values = record["probabilities"]
        return [record["item_id"], *cells, *values, record["error"], record["model"]]

    @property
    def columns(self) -> list[Column]:
        """As `Rows`."""
        return [
            Column("item_id", "text"),
            Column("label", "text"),
            Column("score", "number"),
            Column("top_labels", "text", length=0),
            Column("top_scores", "number", length=0),
            Column("probabilities", "number", length=len(self.classes)),
            Column("error", "text"),
            Column("model", "text"),
        ]

    def values(self, part: ShardResult) -> list[Any]:
        """As `Rows`."""
        order, usable = self._order(part.probabilities)
        scores = np.take_along_axis(part.probabilities, order, axis=1)
        labels = [[self.classes[number] for number in numbers] for numbers in order.tolist()]
        item_ids, errors, models = _common_values(part, self.model)
        return [
            item_ids,
            [label[0] if use else None for label, use in zip(labels, usable, strict=True)],
            [score[0] if use else None for score, use in zip(scores, usable, strict=True)],
            [label if use else [] for label, use in zip(labels, usable, strict=True)],
            [score if use else [] for score, use in zip(scores, usable, strict=True)],
            part.probabilities,
            errors,
            models,
        ]

    def _order(
        self, probabilities: NDArray[np.float32]
    ) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The likeliest classes, int [items, top_k], and which items have any."""
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : self.top_k]
        usable: NDArray[np.bool_] = np.asarray(np.isfinite(probabilities).all(axis=1))
        return order, usable


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueRows:
    """item_id, a column for each value by its name, error, model.

    Raises:
        UsageError: Two columns would have the same name.
    """

    names: Sequence[str]
    model: str

    def __post_init__(self) -> None:
        columns = self.flat_header()
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise UsageError(
                f"{self.model} has values named {', '.join(twice)}, like another column of the "
                "export; use --format npy, or publish it with other names"
            )

    def records(self, part: ShardResult) -> Iterator[list[Record]]:
        """As `Rows`."""
        for rows, first in _blocks(part):
            yield [
                {
                    "item_id": part.item_ids[first + row],
                    **dict(zip(self.names, values, strict=True)),
                    "error": part.errors.get(first + row),
                    "model": self.model,
                }
                for row, values in enumerate(_short(rows))
            ]

    def flat_header(self) -> list[str]:
        """As `Rows`."""
        return ["item_id", *self.names, "error", "model"]

    def flat_row(self, record: Record) -> list[object]:
        """As `Rows`."""
        return list(record.values())

    @property
    def columns(self) -> list[Column]:
        """As `Rows`."""
        values = [Column(name, "number") for name in self.names]
        return [
            Column("item_id", "text"),
            *values,
            Column("error", "text"),
            Column("model", "text"),
        ]

    def values(self, part: ShardResult) -> list[Any]:
        """As `Rows`."""
        item_ids, errors, models = _common_values(part, self.model)
        return [item_ids, *part.probabilities.T, errors, models]


def encoded(text: str) -> bytes:
    """`text` as UTF-8; what UTF-8 cannot represent is escaped."""
    # A lone surrogate, whose escape means the same in JSON.
    return text.encode("utf-8", "backslashreplace")


def _blocks(part: ShardResult) -> Iterator[tuple[NDArray[np.float32], int]]:
    """A few rows at a time, and the position of the first."""
    step = max(1, VALUES_AT_A_TIME // part.probabilities.shape[1])
    for first in range(0, len(part.probabilities), step):
        yield part.probabilities[first : first + step], first


def _short(rows: NDArray[np.float32]) -> list[list[float | None]]:
    """The shortest numbers that read back as the same float32; `None` for NaN."""
    # A float32 as text is as short as it can be, and stays so as a float64.
    short = rows.astype(str).astype(np.float64).tolist()
    return [[value if math.isfinite(value) else None for value in row] for row in short]


def _common_values(part: ShardResult, model: str) -> tuple[list[str], list[str | None], list[str]]:
    count = len(part.probabilities)
    return (
        [encoded(item_id).decode() for item_id in part.item_ids],
        [part.errors.get(row) for row in range(count)],
        [model] * count,
    )
