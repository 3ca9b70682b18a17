"""Items as rows of a file: the columns, and their cells as JSON values."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fornada.tensors import OutputTensor
from producer.item_results import ShardResult

#: Values converted to text at a time; each takes some 200 bytes meanwhile.
VALUES_AT_A_TIME = 65_536

Record = Mapping[str, Any]


class Column(NamedTuple):
    """A column of an export."""

    name: str
    holds: Literal["text", "number"]
    #: Length of the list in each cell; 0 for lists of any length; `None` for cells without lists.
    length: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows(ABC):
    """How the items of a job become rows; an item without a result has a row that says why."""

    output: OutputTensor
    #: `name:version` of the model.
    model: str

    @property
    def columns(self) -> list[Column]:
        """The columns."""
        first, *last = (Column(name, "text") for name in ("item_id", "error", "model"))
        return [first, *self.own_columns, *last]

    def cells(self, part: ShardResult) -> list[Any]:
        """The cells of each column.

        A column of numbers, or of lists of one length, is a float32 array with NaN for no number;
        any other is a list.
        """
        count = len(part.item_ids)
        errors = [part.errors.get(row) for row in range(count)]
        return [part.item_ids, *self.own_cells(part), errors, [self.model] * count]

    def flat_header(self) -> list[str]:
        """The columns of a format whose cells are not lists."""
        return [column.name for column in self.columns]

    def flat_row(self, record: Record) -> list[object]:
        """The cells of a record in those columns."""
        return list(record.values())

    @property
    @abstractmethod
    def own_columns(self) -> list[Column]:
        """The columns of this kind of output."""

    @abstractmethod
    def own_cells(self, part: ShardResult) -> list[Any]:
        """Their cells, as `cells` has them."""


def records(rows: Rows, part: ShardResult) -> Iterator[list[Record]]:
    """The rows of a shard as JSON objects, a few at a time."""
    names = [column.name for column in rows.columns]
    for block in _blocks(part):
        cells = map(_plain, rows.columns, rows.cells(block))
        yield [dict(zip(names, row, strict=True)) for row in zip(*cells, strict=True)]


def short(rows: NDArray[np.float32]) -> list[list[float | None]]:
    """The shortest numbers that read back as the same float32; `None` for NaN and infinity."""
    # A float32 as text is as short as it can be, and stays so as a float64.
    numbers = rows.astype(str).astype(np.float64).tolist()
    return [[value if math.isfinite(value) else None for value in row] for row in numbers]


def encoded(text: str) -> bytes:
    """`text` as UTF-8; what UTF-8 cannot represent is escaped."""
    # A lone surrogate, whose escape means the same in JSON.
    return text.encode("utf-8", "backslashreplace")


def _blocks(part: ShardResult) -> Iterator[ShardResult]:
    step = max(1, VALUES_AT_A_TIME // max(1, part.output.width))
    for first in range(0, len(part.item_ids), step):
        rows = slice(first, first + step)
        yield replace(
            part,
            item_ids=part.item_ids[rows],
            outputs={name: array[rows] for name, array in part.outputs.items()},
            errors={n - first: why for n, why in part.errors.items() if first <= n < rows.stop},
        )


def _plain(column: Column, cells: Any) -> list[Any]:
    """The cells as JSON values."""
    if not isinstance(cells, np.ndarray):
        return list(cells)
    rows = short(cells.reshape(len(cells), -1))
    return rows if column.length else [value for (value,) in rows]
