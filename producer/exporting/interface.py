"""A format of exported results, and what it writes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import IO

from fornada.tensors import OutputTensor
from producer.exporting.kinds import rows_of
from producer.exporting.rows import Column, Rows
from producer.item_results import ShardResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """The results of a job, finished or not."""

    #: The shards' results in submission order; taken one at a time.
    parts: Iterable[ShardResult]
    #: Items of the whole job.
    item_count: int
    #: The model's outputs.
    gives: list[OutputTensor]
    #: `name:version` of the model.
    model: str
    #: How many of the likeliest classes to list; `None` for the default.
    top_k: int | None = None
    #: Columns of the table that the items came from, which the parts carry.
    carried: tuple[Column, ...] = ()
    #: Whether CSV cells that a spreadsheet would run are left as they are.
    is_raw: bool = False

    @property
    def rows(self) -> Rows:
        """How items become rows.

        Raises:
            UsageError: As `rows_of`.
        """
        rows = rows_of(self.gives, model=self.model, top_k=self.top_k)
        return replace(rows, carried=self.carried) if self.carried else rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A kind of file."""

    #: Writes all results, a shard at a time.
    write: Callable[[Export, IO[bytes]], None]
    #: The size of the file, where that is known before.
    size_bytes: Callable[[Export], int] | None = None
    #: Whether it is text, which may go to standard output.
    is_text: bool = False
    #: Whether it has a row for each item; otherwise it has the outputs as arrays.
    has_rows: bool = False
    #: Whether spreadsheets open it, and would run some cells.
    is_for_spreadsheets: bool = False
    #: Whether items' ids go to a file of their own.
    ids_beside: bool = False
