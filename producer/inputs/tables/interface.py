"""A table, and what is read of it."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Any, Literal, Protocol, get_args

from fornada.errors import UsageError

TableKind = Literal["parquet", "csv", "jsonl", "arrow", "manifest"]
TABLE_KINDS: tuple[TableKind, ...] = get_args(TableKind)

#: A column that batches may have beside the wanted ones: `{place, why}` of a row that could not be
#: read, whose other columns are null; null for others.
UNREAD = "\0unread"

#: Opens the bytes of a table, from the first on.
Open = Callable[[], AbstractContextManager[IO[bytes]]]

#: Column names of one input, in the order of its values.
Columns = str | Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class TableOptions:
    """How the columns of a table become items."""

    #: An input's name -> its column, or several whose values side by side are the item.
    columns: Mapping[str, Columns] | None = None
    #: The column of the items' ids; `None` for running numbers.
    id_column: str | None = None

    def check(self) -> None:
        """Check what a caller gave.

        Raises:
            UsageError: The columns are not named by text, for each input.
        """
        if self.columns is None:
            return
        if not isinstance(self.columns, Mapping):
            raise UsageError(
                f"columns is {self.columns!r}; give the column of each input, {{input: column}}"
            )
        for name, columns in self.columns.items():
            listed = columns if isinstance(columns, list | tuple) else [columns]
            if not listed or not all(isinstance(column, str) for column in listed):
                raise UsageError(f"columns has {name!r}: {columns!r}; give the name of a column")

    @property
    def is_given(self) -> bool:
        """Whether the caller said anything."""
        return self.columns is not None or self.id_column is not None


NO_TABLE_OPTIONS = TableOptions()


class Table(Protocol):
    """A table of which only the header was read."""

    @property
    def where(self) -> str:
        """For error messages."""

    @property
    def column_types(self) -> Mapping[str, Any]:
        """Name of a column -> its Arrow type, in the table's order."""

    @property
    def parsed(self) -> frozenset[str]:
        """Columns of text that seem to hold numbers, which are parsed."""

    def batches(
        self, names: Sequence[str], *, row_count: int, floats: Collection[str] = ()
    ) -> Iterator[Any]:
        """Record batches of some columns, and perhaps of `UNREAD`; few are in memory.

        Args:
            names: The columns.
            row_count: Rows of a batch, at most.
            floats: Those that may hold fractions, even if the first rows have none.

        Raises:
            InputError: The table is damaged.
            LocalDiskError: The disk failed.
        """
