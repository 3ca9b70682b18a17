"""Arrays in `.npy`, `.npz` and IDX files: claims checked first, rows read a block at a time."""

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from lzma import LZMAError
from pathlib import Path
from typing import IO

import numpy as np

from fornada.errors import FornadaError, InputError, LocalDiskError
from fornada.formats.idx import GZIP_MAGIC, read_idx_header, unpacked
from fornada.formats.items import Array, items_fit
from fornada.formats.npy import MAX_HEADER_BYTES, array_blocks, read_npy_header


@dataclass(frozen=True, kw_only=True, slots=True)
class FileArray:
    """One array in a file, of which only the header was read."""

    #: File and member, for error messages.
    where: str
    #: Its name in a `.npz` archive.
    member: str | None = None
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    #: Opens the array's bytes, where the data begin.
    open: Callable[[], AbstractContextManager[IO[bytes]]]

    def blocks(self, *, item_shape: Sequence[int], max_block_bytes: int) -> Iterator[Array]:
        """The rows in order: blocks of [rows, *item_shape], as the file has them.

        Rows are read, not mapped: a mapped file that shrinks meanwhile kills the process.

        Raises:
            InputError: The items have another shape, or the data are not what was claimed.
            LocalDiskError: The disk failed.
        """
        have = self.shape[1:]
        if 0 in self.shape or not self.shape:
            raise InputError(
                f"{self.where}: the array of shape {self.shape} is empty; give at least one item"
            )
        if not items_fit(have, item_shape):
            raise InputError(
                f"{self.where}: items of shape {have}, but the model takes {tuple(item_shape)}; "
                "give the items alone; resize images, pad or cut sequences before you submit"
            )
        with reading(self.where), self.open() as stream:
            for block in array_blocks(
                stream,
                shape=self.shape,
                dtype=self.dtype,
                max_block_bytes=max_block_bytes,
                where=self.where,
            ):
                yield block.reshape(len(block), *item_shape)


def npy_array(path: Path, *, where: str) -> FileArray:
    """The array in a `.npy` file.

    Raises:
        InputError: It is no plain array, or the file's size is not what its header claims.
    """
    with reading(where), path.open("rb") as stream:
        size_bytes = path.stat().st_size
        return _array_after_npy_header(
            stream, where=where, size_bytes=size_bytes, reopen=lambda: path.open("rb")
        )


def npz_arrays(path: Path, *, where: str) -> list[FileArray]:
    """The arrays in a `.npz` archive, in the archive's order.

    Raises:
        InputError: The archive is damaged or empty, or a member is no plain array.
    """
    with reading(where), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if not members:
            raise InputError(f"{where} is an empty archive; write it with numpy.savez")
        arrays = []
        for member in members:
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as stream:
                array = _array_after_npy_header(
                    stream,
                    where=f"{where}:{name}",
                    size_bytes=member.file_size,
                    reopen=partial(_open_member, path, member.filename),
                )
            arrays.append(replace(array, member=name))
        return arrays


def idx_array(path: Path, *, where: str) -> FileArray:
    """The array in an IDX file, plain or gzip.

    Raises:
        InputError: It is no IDX file, or a plain one whose size is not what its header claims.
    """
    with reading(where), path.open("rb") as file:
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        with unpacked(file, where=where) as stream:
            shape, dtype = read_idx_header(stream, where=where)
        header_bytes = 4 + 4 * len(shape)
        if not packed:
            size_bytes = path.stat().st_size
            _check_claim(where, shape, dtype, present_bytes=size_bytes - header_bytes)
    opened = partial(_open_idx, path, where, header_bytes)
    return FileArray(where=where, shape=shape, dtype=dtype, open=opened)


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn what reading `where` may raise into our errors.

    Raises:
        InputError: It is missing, may not be read, or is damaged.
        LocalDiskError: The disk failed.
    """
    try:
        yield
    except FornadaError:
        raise
    except FileNotFoundError as exc:
        raise InputError(f"{where} does not exist; check the path") from exc
    except PermissionError as exc:
        raise InputError(f"{where} may not be read by this user; change its permissions") from exc
    # zipfile raises RuntimeError for passwords, NotImplementedError for odd compression.
    except (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, RuntimeError, ValueError) as exc:
        raise _damaged(where, exc) from exc
    except OSError as exc:
        # Decompressors raise OSError without a number.
        if exc.errno is None:
            raise _damaged(where, exc) from exc
        raise LocalDiskError(f"{where} cannot be read ({exc.strerror}); check the disk") from exc


def _array_after_npy_header(
    stream: IO[bytes], *, where: str, size_bytes: int, reopen: Callable[[], IO[bytes]]
) -> FileArray:
    shape, dtype, header_bytes = read_npy_header(stream.read(MAX_HEADER_BYTES), where=where)
    _check_claim(where, shape, dtype, present_bytes=size_bytes - header_bytes)
    opened = partial(_open_after, reopen, header_bytes)
    return FileArray(where=where, shape=shape, dtype=dtype, open=opened)


def _check_claim(
    where: str, shape: tuple[int, ...], dtype: np.dtype[np.generic], *, present_bytes: int
) -> None:
    claimed_bytes = math.prod(shape) * dtype.itemsize
    if claimed_bytes != present_bytes:
        raise InputError(
            f"{where} claims {claimed_bytes} bytes of data (shape {shape}, {dtype}) and has "
            f"{present_bytes}; it is truncated or damaged, write it again"
        )


@contextmanager
def _open_after(reopen: Callable[[], IO[bytes]], header_bytes: int) -> Iterator[IO[bytes]]:
    with reopen() as stream:
        stream.read(header_bytes)
        yield stream


@contextmanager
def _open_idx(path: Path, where: str, header_bytes: int) -> Iterator[IO[bytes]]:
    with path.open("rb") as file, unpacked(file, where=where) as stream:
        stream.read(header_bytes)
        yield stream


def _open_member(path: Path, name: str) -> IO[bytes]:
    # The member holds the archive open, and closes it with itself.
    with zipfile.ZipFile(path) as archive:
        return archive.open(name)


def _damaged(where: str, exc: Exception) -> InputError:
    fact = (str(exc).splitlines() or [type(exc).__name__])[0][:200]
    return InputError(f"{where} is damaged ({fact}); write it again")
