"""A format of exported results, and what it is given to write."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from fornada.records import Task
from producer.exporting.rows import ClassRows, Rows, ValueRows
from producer.results import ShardResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """The results of a job, finished or not."""

    #: The shards' results in submission order; taken one at a time.
    parts: Iterable[ShardResult]
    #: Items of the whole job.
    item_count: int
    #: The model's classes, or the names of its values.
    classes: Sequence[str]
    #: How many of the likeliest classes to list.
    top_k: int = 3
    #: `name:version` of the model.
    model: str
    task: Task = "classification"

    @property
    def rows(self) -> Rows:
        """How items become rows.

        Raises:
            UsageError: Two columns would have the same name.
        """
        if self.task == "regression":
            return ValueRows(names=self.classes, model=self.model)
        top_k = min(self.top_k, len(self.classes))
        return ClassRows(classes=self.classes, top_k=top_k, model=self.model)


class Format(Protocol):
    """Writes results as one kind of file."""

    #: Whether it is text, which may go to standard output.
    is_text: bool

    def write(self, export: Export, file: IO[bytes]) -> None:
        """Write all results, a shard at a time.

        Raises:
            UsageError: The format cannot hold these results.
            MissingExtraError: An optional package is needed and not installed.
        """
        ...
