"""Arrays that grow shard by shard in temporary files, for formats that need their sizes first."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import IO, Self

import numpy as np

from fornada.errors import UsageError
from fornada.formats.items import Array
from fornada.formats.tensor_file import Column, Tensor, stored_arrays
from fornada.tensors import OutputTensor, array_dtype
from producer.exporting.interface import Export
from producer.exporting.rows import encoded
from producer.item_results import ShardResult

_OFFSET_BYTES = 8
_TEXTS_AT_A_TIME = 8192

#: The items' ids; the numbers of the rows that failed, and why.
IDS, FAILED, REASONS = "ids", "failed", "reasons"
_OTHERS = [
    OutputTensor(name=IDS, dtype="string", shape=[], kind="tensor"),
    OutputTensor(name=FAILED, dtype="int64", shape=[], kind="tensor"),
    OutputTensor(name=REASONS, dtype="string", shape=[], kind="tensor"),
]


class Spool:
    """An array that grows."""

    def __init__(self, first: Array, file: IO[bytes]) -> None:
        self.dtype, self.file = first.dtype.newbyteorder("<"), file
        self._item_shape = first.shape[1:]
        self._length = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape by now."""
        return (self._length, *self._item_shape)

    def append(self, rows: Array) -> None:
        """Add rows."""
        self.file.write(np.ascontiguousarray(rows, self.dtype).data)
        self._length += len(rows)

    def copy_to(self, file: IO[bytes]) -> None:
        """Write all of it."""
        self.file.seek(0)
        shutil.copyfileobj(self.file, file, 1024 * 1024)


class Spools:
    """What safetensors stores of some outputs, of the items' ids, and of what failed and why."""

    def __init__(self, export: Export, outputs: Sequence[OutputTensor], *, folder: Path) -> None:
        self.tensors = [*outputs, *_OTHERS]
        #: The arrays by their names, in order.
        self.arrays: dict[str, Spool] = {}
        self._folder = folder
        self._ends: dict[str, int] = {}
        self._files = ExitStack()
        tensors = [*export.gives, *_OTHERS]
        names = [name for tensor in tensors for name in {tensor.name, *array_names(tensor)}]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(
                f"{export.model} has an output named {twice[0]}, like another array of the file; "
                "use format parquet, or publish it with another name"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def noted(self, parts: Iterable[ShardResult]) -> Iterator[ShardResult]:
        """The parts, each once it has been added."""
        for part in parts:
            columns: dict[str, Column] = {
                **part.outputs,
                IDS: _texts(part.item_ids),
                FAILED: np.array([part.first_item + row for row in part.errors], np.int64),
                REASONS: _texts(part.errors.values()),
            }
            for tensor in self.tensors:
                for name, array in stored_arrays(columns[tensor.name], tensor).items():
                    self._append(name, array, are_offsets=name == f"{tensor.name}.offsets")
            yield part

    def texts(self, name: str) -> Iterator[list[str]]:
        """The strings of a tensor of fixed shape, a few at a time."""
        values, offsets = (self.arrays[f"{name}.{what}"].file for what in ("values", "offsets"))
        values.seek(0)
        # The first is 0.
        offsets.seek(_OFFSET_BYTES)
        start = 0
        while block := offsets.read(_OFFSET_BYTES * _TEXTS_AT_A_TIME):
            ends = np.frombuffer(block, "<i8").tolist()
            data = values.read(ends[-1] - start)
            yield [
                data[was - start : end - start].decode(errors="backslashreplace")
                for was, end in pairwise([start, *ends])
            ]
            start = ends[-1]

    def _append(self, name: str, array: Array, *, are_offsets: bool) -> None:
        known = self.arrays.get(name)
        if known is None:
            file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed at the end
            known = self.arrays[name] = Spool(array, self._files.enter_context(file))
        elif are_offsets:
            array = array[1:] + self._ends[name]
        known.append(array)
        if are_offsets and len(array):
            self._ends[name] = int(array[-1])


def array_names(tensor: Tensor) -> list[str]:
    """The names of the arrays that hold a tensor."""
    empty = np.zeros([0, *(side or 0 for side in tensor.shape)], array_dtype(tensor.dtype))
    return [*stored_arrays([] if None in tensor.shape else empty, tensor)]


def _texts(texts: Iterable[str]) -> Array:
    return np.array([encoded(text) for text in texts], object)
