"""Results as `.npy`: float32 [items, classes]."""

from typing import IO

import numpy as np
from numpy.lib import format as npy_format

from producer.exporting.interface import Export
from producer.exporting.rows import VALUES_AT_A_TIME


class NpyFormat:
    """Writes `.npy` in submission order; rows without a result are NaN."""

    is_text = False

    def write(self, export: Export, file: IO[bytes]) -> None:
        """As `Format`."""
        # In order, not through a memory map: a map dies of SIGBUS when the disk is full.
        item_count, column_count = export.item_count, len(export.classes)
        header = {"descr": "<f4", "fortran_order": False, "shape": (item_count, column_count)}
        npy_format.write_array_header_1_0(file, header)
        written = 0
        for part in export.parts:
            _write_missing(file, part.first_item - written, column_count)
            file.write(np.ascontiguousarray(part.probabilities, dtype="<f4").data)
            written = part.first_item + len(part.probabilities)
        _write_missing(file, item_count - written, column_count)


def _write_missing(file: IO[bytes], rows: int, column_count: int) -> None:
    step = max(1, VALUES_AT_A_TIME // column_count)
    for start in range(0, rows, step):
        missing = np.full((min(step, rows - start), column_count), np.nan, dtype="<f4")
        file.write(missing.data)
