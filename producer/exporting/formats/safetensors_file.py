"""Results as safetensors: the outputs, the items' ids, and which items failed and why."""

import json
import math
from collections import deque
from pathlib import Path
from typing import IO

from producer.exporting.interface import Export
from producer.exporting.spools import Spool, Spools

#: NumPy's names of dtypes -> those of the format.
_DTYPES = {
    "bool": "BOOL",
    **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"F{bits}" for bits in (16, 32, 64)},
}
#: The header's length is a multiple of this, so that arrays begin aligned.
_ALIGNED_BYTES = 8


def write_safetensors(export: Export, file: IO[bytes]) -> None:
    """Write `.safetensors`: each output by its name, `ids`, and `failed` with `reasons`.

    Strings and open shapes are as `fornada.formats.tensor_file` has them: `ids.values` holds the
    ids one after the other, in UTF-8, and `ids.offsets` where each begins and the last one ends.
    All arrays are in temporary files beside `file` before.

    Raises:
        UsageError: An output is named like one of the others.
    """
    with Spools(export, export.gives, folder=Path(file.name).parent) as spools:
        deque(spools.noted(export.parts), maxlen=0)
        # The largest numbers first: all are aligned.
        arrays = sorted(spools.arrays.items(), key=lambda named: -named[1].dtype.itemsize)
        header = _header(arrays)
        file.write(len(header).to_bytes(8, "little") + header)
        for _, spool in arrays:
            spool.copy_to(file)


def _header(arrays: list[tuple[str, Spool]]) -> bytes:
    entries, end = {}, 0
    for name, spool in arrays:
        start, end = end, end + math.prod(spool.shape) * spool.dtype.itemsize
        entries[name] = {
            "dtype": _DTYPES[spool.dtype.name],
            "shape": spool.shape,
            "data_offsets": [start, end],
        }
    header = json.dumps(entries).encode()
    return header + b" " * (-len(header) % _ALIGNED_BYTES)
