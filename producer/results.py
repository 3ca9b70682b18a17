"""A job's results: of one shard, or all in memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fornada.errors import UsageError
from fornada.records import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardResult:
    """The results of one shard."""

    shard: int
    #: Number of its first item in the job.
    first_item: int
    item_ids: list[str]
    #: float32 [items, classes], or a regression's values; NaN in rows of failed items.
    probabilities: NDArray[np.float32]
    #: Position in the shard -> why the item failed.
    errors: dict[int, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """All of a job's results, in submission order."""

    task: Task = "classification"
    #: float32 [items, classes], or a regression's values; NaN in rows without a result.
    probabilities: NDArray[np.float32]
    #: Names of the columns.
    classes: list[str]
    item_ids: list[str]
    #: Number of an item without a result -> why.
    errors: dict[int, str]
    #: The model's `name:version`.
    model: str

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Bool [items]: which items have a result."""
        ok = np.ones(len(self.probabilities), np.bool_)
        ok[list(self.errors)] = False
        return ok

    @property
    def labels(self) -> list[str | None]:
        """The likeliest class of each item; `None` where it has no result.

        Raises:
            UsageError: The model predicts values, not classes.
        """
        if self.task == "regression":
            raise UsageError(
                f"{self.model} predicts {', '.join(self.classes)}, not classes; read values"
            )
        return [
            None if np.isnan(row).any() else self.classes[int(np.argmax(row))]
            for row in self.probabilities
        ]

    @property
    def values(self) -> dict[str, NDArray[np.float32]]:
        """Each output by its name, float32 [items]; use this for a regression."""
        return {name: self.probabilities[:, number] for number, name in enumerate(self.classes)}
