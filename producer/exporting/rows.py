"""What an exported file says of each item: its classes, or its values."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fornada.errors import UsageError
from producer.results import ShardResult

#: Values converted to text at a time; each takes some 200 bytes meanwhile.
VALUES_AT_A_TIME = 65_536

Record = Mapping[str, Any]


class Column(NamedTuple):
    """A column of an export."""

    name: str
    holds: Literal["text", "number"]
    #: Length of the list in each cell; 0 for lists that are empty where an item failed; `None` for
    #: cells that are no lists.
    length: int | None = None


class Rows(Protocol):
    """How the items of a job become rows; an item without a result has a row that says why."""

    @property
    def columns(self) -> list[Column]:
        """The columns."""
        ...

    def values(self, part: ShardResult) -> list[Any]:
        """The cells of each column: a list of text, or a float32 array with NaN for no number."""
        ...

    def flat_header(self) -> list[str]:
        """The columns of a format whose cells are no lists."""
        ...

    def flat_row(self, record: Record) -> list[object]:
        """The cells of a record in those columns."""
        ...


def records(rows: Rows, part: ShardResult) -> Iterator[list[Record]]:
    """The rows of a shard as JSON objects, a few at a time."""
    names = [column.name for column in rows.columns]
    for block in _blocks(part):
        cells = map(_plain, rows.columns, rows.values(block))
        yield [dict(zip(names, row, strict=True)) for row in zip(*cells, strict=True)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassRows:
    """item_id, label and score, top_labels and top_scores, probabilities, error, model."""

    classes: Sequence[str]
    top_k: int
    model: str

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
        order = np.argsort(-part.probabilities, axis=1, kind="stable")[:, : self.top_k]
        failed = np.asarray(~np.isfinite(part.probabilities).all(axis=1))
        scores = np.take_along_axis(part.probabilities, order, axis=1)
        scores[failed] = np.nan
        labels = [
            [] if no else [self.classes[number] for number in numbers]
            for no, numbers in zip(failed, order.tolist(), strict=True)
        ]
        best = [row[0] if row else None for row in labels]
        errors, models = _errors_and_models(part, self.model)
        own = [best, scores[:, 0], labels, scores, part.probabilities]
        return [part.item_ids, *own, errors, models]

    def flat_header(self) -> list[str]:
        """As `Rows`."""
        places = range(2, self.top_k + 1)
        top = [f"top{place}_{what}" for place in places for what in ("label", "score")]
        probabilities = [f"p_{name}" for name in self.classes]
        return ["item_id", "label", "score", *top, *probabilities, "error", "model"]

    def flat_row(self, record: Record) -> list[object]:
        """As `Rows`."""
        pairs = zip(record["top_labels"], record["top_scores"], strict=True)
        top = [cell for pair in pairs for cell in pair] or [""] * (2 * self.top_k)
        values = record["probabilities"]
        return [record["item_id"], *top, *values, record["error"], record["model"]]


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

    @property
    def columns(self) -> list[Column]:
        """As `Rows`."""
        first, *last = (Column(name, "text") for name in ("item_id", "error", "model"))
        return [first, *(Column(name, "number") for name in self.names), *last]

    def values(self, part: ShardResult) -> list[Any]:
        """As `Rows`."""
        return [part.item_ids, *part.probabilities.T, *_errors_and_models(part, self.model)]

    def flat_header(self) -> list[str]:
        """As `Rows`."""
        return ["item_id", *self.names, "error", "model"]

    def flat_row(self, record: Record) -> list[object]:
        """As `Rows`."""
        return list(record.values())


def encoded(text: str) -> bytes:
    """`text` as UTF-8; what UTF-8 cannot represent is escaped."""
    # A lone surrogate, whose escape means the same in JSON.
    return text.encode("utf-8", "backslashreplace")


def _blocks(part: ShardResult) -> Iterator[ShardResult]:
    step = max(1, VALUES_AT_A_TIME // part.probabilities.shape[1])
    for first in range(0, len(part.probabilities), step):
        rows = slice(first, first + step)
        yield replace(
            part,
            item_ids=part.item_ids[rows],
            probabilities=part.probabilities[rows],
            errors={n - first: why for n, why in part.errors.items() if first <= n < rows.stop},
        )


def _plain(column: Column, cells: Any) -> list[Any]:
    """The cells as JSON values."""
    if not isinstance(cells, np.ndarray):
        return list(cells)
    rows = _short(cells.reshape(len(cells), -1))
    if column.length is None:
        return [value for (value,) in rows]
    return rows if column.length else [[] if None in row else row for row in rows]


def _short(rows: NDArray[np.float32]) -> list[list[float | None]]:
    """The shortest numbers that read back as the same float32; `None` for NaN."""
    # A float32 as text is as short as it can be, and stays so as a float64.
    short = rows.astype(str).astype(np.float64).tolist()
    return [[value if math.isfinite(value) else None for value in row] for row in short]


def _errors_and_models(part: ShardResult, model: str) -> tuple[list[str | None], list[str]]:
    count = len(part.probabilities)
    return [part.errors.get(row) for row in range(count)], [model] * count
