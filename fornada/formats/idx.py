"""IDX files, the format of MNIST and its relatives, plain or gzip; read in bounded memory."""

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

import numpy as np

from fornada.errors import InputError
from fornada.formats.items import Array
from fornada.formats.looks import look_of
from fornada.formats.npy import array_blocks

GZIP_MAGIC = b"\x1f\x8b"
#: Dtypes by the third byte of the file; all numbers are big-endian.
IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

_MAX_DIMENSIONS = 32
_REMEDY = "download or write it again"


def read_idx(data: bytes, *, where: str, max_bytes: int) -> Array:
    """The array in the bytes of an IDX file, plain or gzip.

    No more is unpacked than the header claims, which may be at most `max_bytes`.

    Raises:
        InputError: It is not an IDX file, is damaged, or claims more than `max_bytes`.
    """
    with unpacked(io.BytesIO(data), where=where) as stream:
        shape, dtype = read_idx_header(stream, where=where)
        claimed_bytes = math.prod(shape) * dtype.itemsize
        if claimed_bytes > max_bytes:
            raise InputError(
                f"{where} claims {claimed_bytes} bytes (shape {shape}, {dtype}), more than "
                f"{max_bytes}; split it"
            )
        if claimed_bytes == 0:
            raise InputError(f"{where} is empty (shape {shape}); give at least one item")
        blocks = list(
            array_blocks(
                stream, shape=shape, dtype=dtype, max_block_bytes=claimed_bytes, where=where
            )
        )
    return blocks[0].astype(dtype.newbyteorder("="), copy=False)


def read_idx_header(
    stream: IO[bytes], *, where: str
) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """The shape and big-endian dtype of an IDX file; leaves `stream` at the start of the data.

    Raises:
        InputError: It is not an IDX file.
    """
    magic = stream.read(4)
    if len(magic) != 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_DTYPES:  # noqa: PLR2004
        raise InputError(f"{where} is not an IDX file ({look_of(magic)}); {_REMEDY}")
    dimensions = magic[3]
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise InputError(f"{where} claims {dimensions} dimensions; {_REMEDY}")
    sides = stream.read(4 * dimensions)
    if len(sides) != 4 * dimensions:
        raise InputError(f"{where} is an IDX file whose header is truncated; {_REMEDY}")
    shape = tuple(int(side) for side in np.frombuffer(sides, dtype=">u4"))
    return shape, np.dtype(IDX_DTYPES[magic[2]])


@contextmanager
def unpacked(stream: IO[bytes], *, where: str) -> Iterator[IO[bytes]]:
    """The seekable `stream`, unpacked if it is gzip.

    Raises:
        InputError: In the block, if the gzip data is damaged.
    """
    packed = stream.read(2) == GZIP_MAGIC
    stream.seek(0)
    if not packed:
        yield stream
        return
    try:
        # GzipFile.read(n) unpacks about n bytes, however far the file would expand.
        with gzip.GzipFile(fileobj=stream, mode="rb") as unzipped:
            yield cast(IO[bytes], unzipped)
    except (gzip.BadGzipFile, EOFError, zlib.error) as exc:
        raise InputError(f"{where} is a damaged gzip file ({exc}); {_REMEDY}") from exc
