"""Results of some items: what each output of the model says of them, by its kind."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fornada.errors import UsageError
from fornada.formats.tensor_file import Column
from fornada.tensors import BINARY_CLASSES, CLASS_KINDS, Kind, OutputTensor, text_of

#: What a model gives, by the names of its outputs: an array with a row an item, or a list of
#: arrays, one an item, where the output's shape is open. Strings are `bytes` in UTF-8.
Outputs = dict[str, Column]

#: Cells of a column that is carried along.
CarriedCells = np.ma.MaskedArray[Any, Any] | list[str | None]

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
class OutputResults:
    """One output of some items. `output.kind` says what it means, and which properties it has."""

    #: Name, dtype, shape, kind and classes of the output.
    output: OutputTensor
    #: Of `output.dtype` [items, *output.shape], or a list of an array an item where the shape is
    #: open. Rows without a result are NaN, zeros in dtypes that have none, or empty arrays.
    rows: Column
    #: Bool [items]: which items have a result.
    ok: NDArray[np.bool_]

    @property
    def matrix(self) -> NDArray[Any]:
        """[items, numbers]: the output of each item as one row, whatever its shape.

        Raises:
            UsageError: Items have different shapes.
        """
        if isinstance(self.rows, list):
            raise UsageError(
                f"items have {text_of(self.output.shape)} numbers in output {self.output.name!r}, "
                "which fit no matrix; read outputs"
            )
        return self.rows.reshape(len(self.rows), self.output.width)

    @property
    def classes(self) -> list[str]:
        """Names of the classes, two if binary; or of the values; empty for other kinds."""
        return classes_of(self.output)

    @property
    def is_finite(self) -> NDArray[np.bool_]:
        """Bool [items]: which items have a result without NaN and infinity."""
        if not self.output.numpy_dtype.startswith("float"):
            return self.ok
        if isinstance(self.rows, list):
            found = np.array([np.isfinite(row).all() for row in self.rows], np.bool_)
        else:
            found = np.isfinite(self.matrix).all(axis=1)
        return self.ok & found

    @property
    def probabilities(self) -> NDArray[Any]:
        """Float [items, classes]; [items, 1] if binary, the probability of the second class.

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
            found = (classes[number] for number in self.numbers.tolist())
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
            found = self.numbers[:, np.newaxis] == np.arange(len(self.classes))
        return found & self.is_finite[:, np.newaxis]

    @property
    def scores(self) -> NDArray[Any]:
        """Float [items]: the probability of each item's label.

        Raises:
            UsageError: The outputs are not of kind probabilities or binary.
        """
        self._require("scores", ("probabilities", "binary"))
        if self.output.kind == "binary":
            second = self.matrix[:, 0]
            found = np.where(self.numbers == 1, second, np.float32(1) - second)
        else:
            found = self.matrix.max(axis=1)
        return np.where(self.is_finite, found, np.float32(np.nan))

    @property
    def values(self) -> dict[str, NDArray[Any]]:
        """Each number by its name, [items]; for kind values.

        Raises:
            UsageError: The numbers have no names.
        """
        self._require("values", (*CLASS_KINDS, "values"))
        return dict(zip(self.output.columns, self.matrix.T, strict=True))

    @property
    def embeddings(self) -> NDArray[Any]:
        """Float [items, numbers]; for kind embedding.

        Raises:
            UsageError: The outputs are not of that kind.
        """
        self._require("embeddings", ("embedding",))
        return self.matrix

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Int64 [items]: the number of each item's one class, whether it has a result or not."""
        if self.output.kind == "binary":
            return (self.matrix[:, 0] >= self.output.least_probability).astype(np.int64)
        return np.asarray(self.matrix.argmax(axis=1), np.int64)

    def _require(self, what: str, kinds: Sequence[str]) -> None:
        if self.output.kind not in kinds:
            raise UsageError(
                f"the model's output {self.output.name!r} is of kind {self.output.kind} and has no "
                f"{what}; read {_READ_BY[self.output.kind]}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemResults:
    """Results of some items.

    `results["mask"]` is one output; of a model that has one, labels, scores and the like can be
    read here as well. They raise `UsageError` where the model has several.
    """

    #: The model's outputs, in its order.
    gives: list[OutputTensor]
    #: What it gives for each item, by the output's name, as `OutputResults.rows`.
    outputs: Outputs
    item_ids: list[str]
    #: Number of a row without a result -> why.
    errors: dict[int, str]
    #: Columns of the table that the items came from, by name: masked arrays, or texts and `None`.
    carried: dict[str, CarriedCells] = field(default_factory=dict)

    def __getitem__(self, name: str) -> OutputResults:
        """The output of that name.

        Raises:
            UsageError: There is none.
        """
        for output in self.gives:
            if output.name == name:
                return OutputResults(output=output, rows=self.outputs[name], ok=self.ok)
        raise UsageError(f"there is no output {name!r}; there are {self._names}")

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Bool [items]: which items have a result."""
        ok = np.ones(len(self.item_ids), np.bool_)
        ok[list(self.errors)] = False
        return ok

    @property
    def output(self) -> OutputTensor:
        """Name, dtype, shape, kind and classes of the only output."""
        return self.only.output

    @property
    def only(self) -> OutputResults:
        """The only output.

        Raises:
            UsageError: There are several.
        """
        if len(self.gives) != 1:
            raise UsageError(
                f"the model has {len(self.gives)} outputs: {self._names}; read one by its name, as "
                f"results[{self.gives[0].name!r}]"
            )
        return self[self.gives[0].name]

    @property
    def matrix(self) -> NDArray[Any]:
        """As `OutputResults.matrix`."""
        return self.only.matrix

    @property
    def classes(self) -> list[str]:
        """As `OutputResults.classes`."""
        return self.only.classes

    @property
    def is_finite(self) -> NDArray[np.bool_]:
        """As `OutputResults.is_finite`."""
        return self.only.is_finite

    @property
    def probabilities(self) -> NDArray[Any]:
        """As `OutputResults.probabilities`."""
        return self.only.probabilities

    @property
    def labels(self) -> list[Label]:
        """As `OutputResults.labels`."""
        return self.only.labels

    @property
    def applies(self) -> NDArray[np.bool_]:
        """As `OutputResults.applies`."""
        return self.only.applies

    @property
    def scores(self) -> NDArray[Any]:
        """As `OutputResults.scores`."""
        return self.only.scores

    @property
    def values(self) -> dict[str, NDArray[Any]]:
        """As `OutputResults.values`."""
        return self.only.values

    @property
    def embeddings(self) -> NDArray[Any]:
        """As `OutputResults.embeddings`."""
        return self.only.embeddings

    @property
    def _names(self) -> str:
        return ", ".join(repr(output.name) for output in self.gives)


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
