"""Arrays as `.npy` bytes; every claim is checked before memory is taken."""

import io
import math
import re
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np
from numpy.lib import format as npy_format

from fornada.errors import InputError
from fornada.formats.items import Array
from fornada.formats.looks import look_of

#: The longest header that a plain array needs, with magic, version and length.
MAX_HEADER_BYTES = 10_000

_NPY_MAGIC = b"\x93NUMPY"
#: Bytes of the header's length field, by format version.
_LENGTH_BYTES = {b"\1\0": 2, b"\2\0": 4, b"\3\0": 4}
# NumPy's parser evaluates the header as Python: it warns, and raises errors of any type.
_NPY_ENTRY = (
    r"""["'](?:descr["']\s*:\s*["'](?P<descr>[<>|=]?[biufcmMOSUV?]\d{0,9})["']"""
    r"""|fortran_order["']\s*:\s*(?P<fortran>True|False)"""
    r"""|shape["']\s*:\s*\((?P<shape>[\d, L]*)\))\s*(?:,\s*)?"""
)
_NPY_HEADER = re.compile(r"\{\s*(?:" + _NPY_ENTRY + r"){3}\}\s*")
_NPY_COLUMNS = re.compile(r"""["']descr["']\s*:\s*\[""")
_MAX_DIMENSIONS = 32


def to_npy(array: Array) -> bytes:
    """The bytes of a `.npy` file of `array`, in C order."""
    buffer = io.BytesIO()
    write_npy(buffer, array)
    return buffer.getvalue()


def write_npy(file: IO[bytes], array: Array) -> None:
    """Write `array` into a `.npy` file, in C order."""
    npy_format.write_array(file, np.asarray(array, order="C"), allow_pickle=False)


def read_npy_header(
    data: bytes, *, where: str
) -> tuple[tuple[int, ...], np.dtype[np.generic], int]:
    """The shape, dtype and header length in bytes of a `.npy` file; takes no memory for the array.

    Args:
        data: At least the first `MAX_HEADER_BYTES` of the file, or all of a shorter one.
        where: What the bytes were read from, for error messages.

    Raises:
        InputError: It is not a `.npy` file, or holds Python objects or columns.
    """
    header, header_bytes = _npy_header_text(data[:MAX_HEADER_BYTES], where=where)
    match = _NPY_HEADER.fullmatch(header)
    try:
        if match is None or None in match.groups():
            raise ValueError(header)  # noqa: TRY301 - one place explains
        shape = tuple(int(side.rstrip("L")) for side in match["shape"].split(",") if side.strip())
        dtype = np.dtype(match["descr"])
    except (ValueError, TypeError) as exc:
        if _NPY_COLUMNS.search(header):
            raise _not_plain(where, "columns") from exc
        raise _unreadable(where, f"its header is {header[:80].strip()!r}") from exc
    if dtype.hasobject:
        raise _not_plain(where, "Python objects")
    if match["fortran"] == "True" and len(shape) > 1:
        raise InputError(
            f"{where} is stored in Fortran order; save numpy.ascontiguousarray(array) instead"
        )
    claimed_bytes = math.prod(side or 1 for side in shape) * dtype.itemsize
    if len(shape) > _MAX_DIMENSIONS or claimed_bytes >= 2**63:
        raise InputError(
            f"{where} claims the impossible shape {str(shape)[:100]}; write the file again"
        )
    return shape, dtype, header_bytes


def _npy_header_text(data: bytes, *, where: str) -> tuple[str, int]:
    if not data.startswith(_NPY_MAGIC):
        raise _unreadable(where, look_of(bytes(data[:8])))
    version = bytes(data[6:8])
    width = _LENGTH_BYTES.get(version)
    if width is None:
        raise _unreadable(where, f"its format version is {version!r}")
    begin = len(_NPY_MAGIC) + 2 + width
    end = begin + int.from_bytes(data[begin - width : begin], "little")
    if len(data) < begin or len(data) < end:
        raise _unreadable(where, f"its header of {end} bytes is cut off or far too long")
    return bytes(data[begin:end]).decode("latin-1"), end


def _unreadable(where: str, fact: str) -> InputError:
    return InputError(
        f"{where} is not a readable .npy file ({fact}); "
        "write it with numpy.save(..., allow_pickle=False)"
    )


def _not_plain(where: str, what: str) -> InputError:
    return InputError(
        f"{where} holds {what}, which are never loaded; save a plain array of numbers"
    )


def from_npy(data: bytes, *, where: str) -> Array:
    """The array in the bytes of a `.npy` file, without a copy (read-only).

    Raises:
        InputError: It is not a `.npy` file, holds objects, or its length is not what it claims.
    """
    shape, dtype, header_bytes = read_npy_header(data, where=where)
    claimed_bytes = math.prod(shape) * dtype.itemsize
    present_bytes = len(data) - header_bytes
    if claimed_bytes != present_bytes:
        raise InputError(
            f"{where} claims {claimed_bytes} bytes of data (shape {shape}, {dtype}) and has "
            f"{present_bytes}; it is truncated or damaged, write it again"
        )
    # The count below would divide by zero.
    if dtype.itemsize == 0:
        raise InputError(f"{where} has the empty dtype {dtype}; save an array of numbers")
    count = claimed_bytes // dtype.itemsize
    return np.frombuffer(data, dtype=dtype, count=count, offset=header_bytes).reshape(shape)


def array_blocks(
    stream: IO[bytes],
    *,
    shape: Sequence[int],
    dtype: np.dtype[np.generic],
    max_block_bytes: int,
    where: str,
) -> Iterator[Array]:
    """The rows of an array of `shape`, whose C-ordered bytes are the rest of `stream`.

    Each block is `dtype` [rows, *shape[1:]]: at most `max_block_bytes`, but at least one row.

    Raises:
        InputError: The stream has fewer or more bytes than the shape claims.
    """
    row_bytes = math.prod(shape[1:]) * dtype.itemsize
    step = max(1, max_block_bytes // max(1, row_bytes))
    for start in range(0, shape[0], step):
        rows = min(step, shape[0] - start)
        data = stream.read(rows * row_bytes)
        if len(data) != rows * row_bytes:
            raise InputError(
                f"{where} claims {shape[0] * row_bytes} bytes of data (shape {tuple(shape)}, "
                f"{dtype}) and has {start * row_bytes + len(data)}; it is truncated, write it again"
            )
        yield np.frombuffer(data, dtype=dtype).reshape(rows, *shape[1:])
    if stream.read(1):
        raise InputError(
            f"{where} has more data than its shape {tuple(shape)} claims; write it again"
        )
