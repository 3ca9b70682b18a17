"""A format of exported results, and what it writes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import IO

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A kind of file."""

    #: Writes all results, a shard at a time.
    write: Callable[[Export, IO[bytes]], None]
    #: Whether it is text, which may go to standard output.
    is_text: bool
