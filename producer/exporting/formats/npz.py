"""Results as `.npz`: the outputs, the items' ids, and which items failed and why."""

import zipfile
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from fornada.formats.tensor_file import needs_tensor_file
from fornada.tensors import OutputTensor
from producer.exporting.formats.npy import write_npy, write_npy_header
from producer.exporting.interface import Export
from producer.exporting.spools import Spools, array_names

#: The same results give the same bytes.
_WRITTEN_AT = (1980, 1, 1, 0, 0, 0)


def write_npz(export: Export, file: IO[bytes]) -> None:
    """Write `.npz`: each output by its name, `ids`, and `failed` (row numbers) with `reasons`.

    Of an output whose shape is open, `NAME.values`, `NAME.offsets` and `NAME.shapes`, as
    `fornada.formats.tensor_file` has them. The first output is written as it comes; others are
    in temporary files beside `file` before.

    Raises:
        UsageError: An output is named like one of the others.
    """
    first, *others = export.gives
    is_direct = not needs_tensor_file([first])
    outputs = others if is_direct else export.gives
    with (
        Spools(export, outputs, folder=Path(file.name).parent) as spools,
        zipfile.ZipFile(file, "w") as archive,
    ):
        parts = spools.noted(export.parts)
        if is_direct:
            with _member(archive, first.name, zipfile.ZIP_STORED) as member:
                write_npy(replace(export, gives=[first], parts=parts), member)
        deque(parts, maxlen=0)
        for tensor in spools.tensors:
            if tensor.dtype == "string" and not tensor.is_open:
                _write_texts(archive, tensor, spools)
                continue
            for name in array_names(tensor):
                spool = spools.arrays[name]
                with _member(archive, name, zipfile.ZIP_DEFLATED) as member:
                    write_npy_header(member, spool.dtype, spool.shape)
                    spool.copy_to(member)


def _write_texts(archive: zipfile.ZipFile, tensor: OutputTensor, spools: Spools) -> None:
    longest = max((len(text) for block in spools.texts(tensor.name) for text in block), default=0)
    dtype = np.dtype(f"<U{max(1, longest)}")
    count = sum(map(len, spools.texts(tensor.name)))
    width = tensor.width
    with _member(archive, tensor.name, zipfile.ZIP_DEFLATED) as member:
        write_npy_header(member, dtype, (count // max(1, width), *tensor.fixed_shape))
        for block in spools.texts(tensor.name):
            member.write(np.array(block, dtype).tobytes())


def _member(archive: zipfile.ZipFile, name: str, compression: int) -> IO[bytes]:
    info = zipfile.ZipInfo(f"{name}.npy", _WRITTEN_AT)
    info.compress_type = compression
    return archive.open(info, "w", force_zip64=True)
