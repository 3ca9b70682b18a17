"""What came out of a job: shard by shard, or all of it in memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fornada.errors import UsageError
from fornada.records import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardResult:
    """What came out of one shard; parts of a job come in submission order."""

    shard: int
    #: Running number of its first item in the job.
    first_item: int
    item_ids: list[str]
    #: float32 [items, classes], or the values of a regression; a row is NaN where the item failed.
    probabilities: NDArray[np.float32]
    #: Position in the shard -> why the item failed.
    errors: dict[int, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """All of a job's results, in submission order."""

    task: Task = "classification"
    #: float32 [items, classes], or of a regression its values; a row is NaN where the item has no
    #: result.
    probabilities: NDArray[np.float32]
    #: Names of the columns.
    classes: list[str]
    item_ids: list[str]
    #: Running number of an item without a result -> why.
    errors: dict[int, str]
    #: The model's `name:version`.
    model: str

    @property
    def labels(self) -> list[str | None]:
        """The likeliest class of each item; `None` where it has no result.

        Raises:
            UsageError: The model gives values, not classes.
        """
        if self.task == "regression":
            raise UsageError(
                f"{self.model} gives {', '.join(self.classes)}, and no classes; read values"
            )
        return [
            None if np.isnan(row).any() else self.classes[int(np.argmax(row))]
            for row in self.probabilities
        ]

    @property
    def values(self) -> dict[str, NDArray[np.float32]]:
        """Each output by its name, float32 [items]: what a regression is read by."""
        return {name: self.probabilities[:, number] for number, name in enumerate(self.classes)}
