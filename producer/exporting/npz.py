"""Results as `.npz`: the outputs, the items' ids, and which items failed and why."""

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from typing import IO

import numpy as np
from numpy.lib import format as npy_format

from fornada.errors import UsageError
from producer.exporting.interface import Export
from producer.exporting.npy import write_npy
from producer.item_results import ShardResult

_OTHERS = ("ids", "failed", "reasons")
#: The same results give the same bytes.
_WRITTEN_AT = (1980, 1, 1, 0, 0, 0)


def write_npz(export: Export, file: IO[bytes]) -> None:
    """Write `.npz`: the outputs by their name, `ids`, and `failed` (row numbers) with `reasons`.

    Holds the ids in memory.

    Raises:
        UsageError: The output is named like one of the others.
    """
    name = export.output.name
    if name in _OTHERS:
        raise UsageError(
            f"{export.model} has an output named {name}, like another array of the file; use "
            "--format npy, or publish it with another name"
        )
    ids: list[str] = []
    errors: dict[int, str] = {}

    def noted() -> Iterator[ShardResult]:
        for part in export.parts:
            ids.extend(part.item_ids)
            errors.update({part.first_item + row: why for row, why in part.errors.items()})
            yield part

    with zipfile.ZipFile(file, "w") as archive:
        with _member(archive, name, zipfile.ZIP_STORED) as member:
            write_npy(replace(export, parts=noted()), member)
        others = (
            np.array(ids, dtype=np.str_),
            np.array(list(errors), dtype=np.int64),
            np.array(list(errors.values()), dtype=np.str_),
        )
        for other, array in zip(_OTHERS, others, strict=True):
            with _member(archive, other, zipfile.ZIP_DEFLATED) as member:
                npy_format.write_array(member, array, allow_pickle=False)


def _member(archive: zipfile.ZipFile, name: str, compression: int) -> IO[bytes]:
    info = zipfile.ZipInfo(f"{name}.npy", _WRITTEN_AT)
    info.compress_type = compression
    return archive.open(info, "w", force_zip64=True)
