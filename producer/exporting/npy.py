"""Results as `.npy`: float32 [items, *shape of the output]."""

from typing import IO

import numpy as np
from numpy.lib import format as npy_format

from producer.exporting.interface import Export


def write_npy(export: Export, file: IO[bytes]) -> None:
    """Write `.npy` in submission order; rows without a result are NaN."""
    # In order, not through a memory map: a map dies of SIGBUS when the disk is full.
    shape = (export.item_count, *(side or 0 for side in export.output.shape))
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(file, header)
    for part in export.parts:
        outputs = part.outputs[export.output.name]
        file.write(np.ascontiguousarray(outputs, dtype="<f4").data)
