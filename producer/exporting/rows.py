"""Items as rows of a table: its columns, and their cells as JSON values."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fornada.errors import UsageError
from fornada.tensors import OutputTensor
from producer.exporting.cells import Cells, plain_cells
from producer.item_results import CarriedCells, ItemResults, OutputResults

#: Values converted to text at a time; each takes some 200 bytes meanwhile.
VALUES_AT_A_TIME = 65_536
#: The dtype of columns whose cells are `str`.
TEXT = "text"

Record = Mapping[str, Any]
_ItemsT = TypeVar("_ItemsT", bound=ItemResults)


class Column(NamedTuple):
    """A column of a table."""

    name: str
    #: NumPy's name, or `text`.
    dtype: str
    #: Shape of a cell; `None` for a side of any length.
    shape: tuple[int | None, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputRows(ABC):
    """How an output becomes columns. A column without a name is all of it."""

    output: OutputTensor

    @property
    @abstractmethod
    def columns(self) -> list[Column]:
        """The columns."""

    @abstractmethod
    def cells(self, found: OutputResults) -> list[Cells]:
        """The cells of each column."""

    def flat_header(self) -> list[str]:
        """The columns of a format whose cells are not lists.

        Raises:
            UsageError: The output fits none.
        """
        return [column.name for column in self.columns]

    def flat_cells(self, cells: Sequence[list[Any]]) -> list[list[Any]]:
        """The cells of each of those columns, given those of `columns`, all as JSON values."""
        return list(cells)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """How the items of a job become rows; an item without a result has a row that says why.

    Raises:
        UsageError: Two columns would have the same name.
    """

    outputs: list[OutputRows]
    #: `name:version` of the model.
    model: str
    #: Columns of the table that the items came from.
    carried: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        names = Counter(column.name for column in self.columns)
        twice = sorted(name for name, count in names.items() if count > 1)
        if twice:
            carried = sorted({*twice} & {*self.carried_names})
            if carried:
                raise UsageError(
                    f"there would be several columns named {', '.join(carried)}; name each once in "
                    "--with-columns, or rename it in the table"
                )
            raise UsageError(
                f"{self.model} gives several columns named {', '.join(twice)}; use format "
                "safetensors, or publish it with other names"
            )

    @property
    def columns(self) -> list[Column]:
        """The columns."""
        first, *others = self._of_results
        carried = zip(self.carried, self.carried_names, strict=True)
        return [first, *(column._replace(name=name) for column, name in carried), *others]

    @property
    def carried_names(self) -> list[str]:
        """The columns of the table by their names; one that results have too is `input.NAME`."""
        own = {column.name for column in self._of_results}
        # No format of lists fits all outputs, and a column is called the same in all formats.
        with suppress(UsageError):
            own |= set(self._flat_names())
        return [f"input.{name}" if name in own else name for name, *_ in self.carried]

    @property
    def _of_results(self) -> list[Column]:
        own = [
            column._replace(name=self._name(rows, column.name))
            for rows in self.outputs
            for column in rows.columns
        ]
        return [Column("item_id", TEXT), *own, Column("error", TEXT), Column("model", TEXT)]

    def cells(self, part: ItemResults) -> list[Cells]:
        """The cells of each column."""
        own = [cells for rows in self.outputs for cells in rows.cells(part[rows.output.name])]
        carried = [_carried_cells(part.carried[column.name]) for column in self.carried]
        model = Cells(np.zeros(len(part.item_ids), np.int64), texts=[self.model])
        return [Cells(part.item_ids), *carried, *own, _reasons(part), model]

    def flat_header(self) -> list[str]:
        """The columns of a format whose cells are not lists.

        Raises:
            UsageError: An output fits none.
        """
        return ["item_id", *self.carried_names, *self._flat_names(), "error", "model"]

    def flat_blocks(self, part: ItemResults) -> Iterator[list[list[Any]]]:
        """The cells of each of those columns as JSON values, a few rows at a time."""
        for block in _blocks(part):
            item_id, *own, error, model = map(plain_cells, self.cells(block))
            flat, at = own[: len(self.carried)], len(self.carried)
            for rows in self.outputs:
                count = len(rows.columns)
                flat += rows.flat_cells(own[at : at + count])
                at += count
            yield [item_id, *flat, error, model]

    def _flat_names(self) -> list[str]:
        return [self._name(rows, name) for rows in self.outputs for name in rows.flat_header()]

    def _name(self, rows: OutputRows, name: str) -> str:
        output = rows.output
        if len(self.outputs) == 1:
            return name or output.kind
        is_lone = output.kind == "values" and output.width == 1 and not output.classes
        return output.name if is_lone or not name else f"{output.name}.{name}"


def records(rows: Rows, part: ItemResults) -> Iterator[list[Record]]:
    """The rows of some items as JSON objects, a few at a time."""
    names = [column.name for column in rows.columns]
    for block in _blocks(part):
        cells = [plain_cells(each) for each in rows.cells(block)]
        yield [dict(zip(names, row, strict=True)) for row in zip(*cells, strict=True)]


def encoded(text: str) -> bytes:
    """`text` as UTF-8; what UTF-8 cannot represent is escaped."""
    # A lone surrogate, whose escape means the same in JSON.
    return text.encode("utf-8", "backslashreplace")


def _blocks(part: _ItemsT) -> Iterator[_ItemsT]:
    width = sum(
        max(item.size for item in column)
        if isinstance(column, list)
        else math.prod(column.shape[1:])
        for column in part.outputs.values()
    )
    step = max(1, VALUES_AT_A_TIME // max(1, width))
    for first in range(0, len(part.item_ids), step):
        rows = slice(first, first + step)
        yield replace(
            part,
            item_ids=part.item_ids[rows],
            outputs={name: column[rows] for name, column in part.outputs.items()},
            errors={n - first: why for n, why in part.errors.items() if first <= n < rows.stop},
            carried={name: cells[rows] for name, cells in part.carried.items()},
        )


def _reasons(part: ItemResults) -> Cells:
    """Why items have no result; most have one."""
    reasons = {why: number for number, why in enumerate(dict.fromkeys(part.errors.values()))}
    numbers = np.zeros(len(part.item_ids), np.int64)
    missing = np.ones(len(part.item_ids), np.bool_)
    for row, why in part.errors.items():
        numbers[row], missing[row] = reasons[why], False
    return Cells(numbers, missing, texts=[*reasons] or [""])


def _carried_cells(cells: CarriedCells) -> Cells:
    if isinstance(cells, list):
        return Cells(cells)
    return Cells(cells.data, np.ma.getmaskarray(cells))
