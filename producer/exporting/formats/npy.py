"""Results as `.npy`: one array, of the output's dtype [items, *shape of the output]."""

import math
from io import BytesIO
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from fornada.errors import UsageError
from fornada.formats.tensor_file import needs_tensor_file
from producer.exporting.interface import Export


def write_npy(export: Export, file: IO[bytes]) -> None:
    """Write `.npy` in submission order; rows without a result are NaN, or zeros.

    Raises:
        UsageError: There are several outputs, or items of strings or of different shapes.
    """
    # In order, not through a memory map: a map dies of SIGBUS when the disk is full.
    name, dtype, shape = _array_of(export)
    write_npy_header(file, dtype, shape)
    for part in export.parts:
        file.write(np.ascontiguousarray(part.outputs[name], dtype).data)


def npy_size_bytes(export: Export) -> int:
    """The size of what `write_npy` writes.

    Raises:
        UsageError: As `write_npy`.
    """
    _, dtype, shape = _array_of(export)
    header = BytesIO()
    write_npy_header(header, dtype, shape)
    return header.tell() + math.prod(shape) * dtype.itemsize


def write_npy_header(file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Write what comes before an array in C order."""
    descr = npy_format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(file, header)


def _array_of(export: Export) -> tuple[str, np.dtype[Any], tuple[int, ...]]:
    """The output that is the array, and its dtype and shape."""
    if needs_tensor_file(export.gives):
        outputs = ", ".join(f"{output.name}: {output}" for output in export.gives)
        raise UsageError(
            f"npy holds one array of numbers, and {export.model} gives {outputs}; use format "
            "npz, safetensors or parquet"
        )
    (output,) = export.gives
    dtype = np.dtype(output.numpy_dtype).newbyteorder("<")
    return output.name, dtype, (export.item_count, *output.fixed_shape)
