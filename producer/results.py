"""A job's results: of one shard, or all in memory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from fornada.errors import IntegrityError, UsageError
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.store import JobStore
from fornada.tensors import BINARY_CLASSES, CLASS_KINDS, Kind, OutputTensor, text_of

#: A class; the classes that apply, for kind multilabel; `None` for an item without a result.
Label = str | tuple[str, ...] | None

#: The property to read the outputs of a kind by.
_READ_BY: dict[Kind, str] = {
    "probabilities": "probabilities",
    "binary": "probabilities",
    "multilabel": "probabilities",
    "values": "values",
    "embedding": "embeddings",
    "tensor": "outputs",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemResults:
    """Results of some items. `output.kind` says what they mean, and which properties they have."""

    #: Name, shape, kind and classes of the model's output.
    output: OutputTensor
    #: float32 [items, *output.shape] by the output's name; NaN in rows without a result.
    outputs: dict[str, NDArray[np.float32]]
    item_ids: list[str]
    #: Number of a row without a result -> why.
    errors: dict[int, str]

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Bool [items]: which items have a result."""
        ok = np.ones(len(self.item_ids), np.bool_)
        ok[list(self.errors)] = False
        return ok

    @property
    def matrix(self) -> NDArray[np.float32]:
        """float32 [items, numbers]: the output of each item as one row, whatever its shape."""
        return self.outputs[self.output.name].reshape(len(self.item_ids), self.output.width)

    @property
    def classes(self) -> list[str]:
        """Names of the classes, two if binary; or of the values; empty for other kinds."""
        return classes_of(self.output)

    @property
    def is_finite(self) -> NDArray[np.bool_]:
        """Bool [items]: which items have a result without NaN and infinity."""
        return self.ok & np.isfinite(self.matrix).all(axis=1)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """float32 [items, classes]; [items, 1] if binary, the probability of the second class.

        Raises:
            UsageError: The outputs are not probabilities.
        """
        self._require("probabilities", CLASS_KINDS)
        return self.matrix

    @property
    def labels(self) -> list[Label]:
        """The class of each item; `None` for an item without a result, or with NaN in it.

        That is the likeliest class; of two classes, the second one from the threshold on; for kind
        multilabel, a tuple of all classes whose probability reaches the threshold.

        Raises:
            UsageError: The outputs are not probabilities of classes.
        """
        self._require("labels", CLASS_KINDS)
        classes, known = self.classes, self.is_finite.tolist()
        if self.output.kind == "multilabel":
            found: Iterable[Label] = (
                tuple(compress(classes, row)) for row in self.applies.tolist()
            )
        else:
            found = (classes[number] for number in self._numbers.tolist())
        return [label if is_known else None for label, is_known in zip(found, known, strict=True)]

    @property
    def applies(self) -> NDArray[np.bool_]:
        """Bool [items, classes]: which classes each item has, as `labels`; none without a result.

        Raises:
            UsageError: The outputs are not probabilities of classes.
        """
        self._require("labels", CLASS_KINDS)
        if self.output.kind == "multilabel":
            found = self.matrix >= self.output.least_probability
        else:
            found = self._numbers[:, np.newaxis] == np.arange(len(self.classes))
        return found & self.is_finite[:, np.newaxis]

    @property
    def scores(self) -> NDArray[np.float32]:
        """float32 [items]: the probability of each item's label.

        Raises:
            UsageError: The outputs are not of kind probabilities or binary.
        """
        self._require("scores", ("probabilities", "binary"))
        if self.output.kind == "binary":
            second = self.matrix[:, 0]
            found = np.where(self._numbers == 1, second, np.float32(1) - second)
        else:
            found = self.matrix.max(axis=1)
        return np.where(self.is_finite, found, np.float32(np.nan))

    @property
    def values(self) -> dict[str, NDArray[np.float32]]:
        """Each number by its name, float32 [items]; for kind values.

        Raises:
            UsageError: The numbers have no names.
        """
        self._require("values", (*CLASS_KINDS, "values"))
        return dict(zip(self.output.columns, self.matrix.T, strict=True))

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """float32 [items, numbers]; for kind embedding.

        Raises:
            UsageError: The outputs are not of that kind.
        """
        self._require("embeddings", ("embedding",))
        return self.matrix

    @property
    def _numbers(self) -> NDArray[np.int64]:
        """Number of the one class of each item, whether it has a result or not."""
        if self.output.kind == "binary":
            return (self.matrix[:, 0] >= self.output.least_probability).astype(np.int64)
        return np.asarray(self.matrix.argmax(axis=1), np.int64)

    def _require(self, what: str, kinds: Sequence[str]) -> None:
        if self.output.kind not in kinds:
            raise UsageError(
                f"the model's output {self.output.name!r} is of kind {self.output.kind} and has no "
                f"{what}; read {_READ_BY[self.output.kind]}"
            )


def classes_of(output: OutputTensor) -> list[str]:
    """Names of the classes, two if binary; or of the values; empty for other kinds."""
    if output.kind == "binary":
        return list(output.classes or BINARY_CLASSES)
    return output.columns if output.kind in {*CLASS_KINDS, "values"} else []


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardResult(ItemResults):
    """The results of one shard; rows are positions in the shard."""

    shard: int
    #: Number of its first item in the job.
    first_item: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Results(ItemResults):
    """All of a job's results, in submission order; rows are numbers of items."""

    #: The model's `name:version`.
    model: str


def stored_outputs(
    outcome: ShardOutcome, output: OutputTensor, *, item_count: int, jobs: JobStore
) -> NDArray[np.float32]:
    """The outputs of an ok shard: float32 [items, *output.shape].

    Raises:
        IntegrityError: Stored bytes differ from those that were committed, or have another shape or
            dtype.
    """
    stored, want = jobs.data(outcome), [item_count, *output.shape]
    fits = stored.ndim == len(want) and all(
        side in {None, have} for side, have in zip(want, stored.shape, strict=True)
    )
    if not fits or stored.dtype != np.float32:
        raise IntegrityError(
            f"the result of shard {outcome.shard} of job {outcome.job_id} is {stored.dtype} "
            f"{text_of(list(stored.shape))}, and the model's output {output.name!r} is float32 "
            f"{text_of(want)}; submit it again"
        )
    return np.asarray(stored, np.float32)


def missing_outputs(output: OutputTensor, *, item_count: int) -> NDArray[np.float32]:
    """What stands for items without a result: NaN, float32 [items, *output.shape]."""
    return np.full((item_count, *(side or 0 for side in output.shape)), np.nan, np.float32)
