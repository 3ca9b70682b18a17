"""All results of a job, in memory."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fornada.errors import UsageError
from fornada.formats.tensor_file import Column
from fornada.jobs.manifest import JobManifest
from fornada.tensors import OutputTensor
from producer.exporting.formats.arrow import to_arrow
from producer.exporting.frames import to_pandas
from producer.exporting.kinds import rows_of
from producer.item_results import ItemResults, ShardResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Results(ItemResults):
    """All of a job's results, in submission order; rows are numbers of items."""

    #: The model's `name:version`.
    model: str

    @classmethod
    def of(cls, manifest: JobManifest, parts: Iterable[ShardResult]) -> Self:
        """The results of all of the job's shards, taken one at a time.

        Raises:
            UsageError: They do not fit into memory.
        """
        columns = {output.name: _blank(manifest, output) for output in manifest.gives}
        item_ids: list[str] = []
        errors: dict[int, str] = {}
        for part in parts:
            first = part.first_item
            for name, column in columns.items():
                column[first : first + len(part.item_ids)] = part.outputs[name]
            item_ids += part.item_ids
            errors.update({first + row: why for row, why in part.errors.items()})
        return cls(
            gives=manifest.gives,
            outputs=columns,
            item_ids=item_ids,
            errors=errors,
            model=str(manifest.model),
        )

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with the columns of the Parquet export, and the ids as its index.

        `customers.join(results.to_pandas())` puts results beside what the ids name.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return to_pandas(rows_of(self.gives, model=self.model), self)

    def to_arrow(self) -> Any:
        """A `pyarrow.Table` with the columns of the Parquet export, among them `item_id`.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        return to_arrow(rows_of(self.gives, model=self.model), self)


def _blank(manifest: JobManifest, output: OutputTensor) -> Column:
    """Room for an output of all items."""
    if output.is_open:
        return []
    shape, dtype = (manifest.item_count, *output.fixed_shape), np.dtype(output.numpy_dtype)
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError) as exc:
        size_bytes = math.prod(shape) * dtype.itemsize
        raise UsageError(
            f"output {output.name!r} of job {manifest.job_id} is {size_bytes / 2**30:.1f} GiB, "
            "more than memory has; read shard_results, or write a file with `fornada jobs results`"
        ) from exc
