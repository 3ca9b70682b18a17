"""Arrays in `.npy`, `.npz` and IDX files: headers checked first, rows read a block at a time."""

import errno
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from lzma import LZMAError
from pathlib import Path
from typing import IO

from fornada.errors import FornadaError, InputError, LocalDiskError
from fornada.formats.idx import GZIP_MAGIC, read_idx_header, unpacked
from fornada.formats.items import Array
from fornada.formats.npy import MAX_HEADER_BYTES, array_blocks
from producer.inputs.array_header import ArrayHeader

#: Opens the bytes of an array file, unpacked.
_Open = Callable[[], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class FileArray:
    """One array in a file, of which only the header was read."""

    header: ArrayHeader
    #: Its name in a `.npz` archive.
    member: str | None = None
    open: _Open

    def blocks(self, *, item_shape: Sequence[int | None], max_block_bytes: int) -> Iterator[Array]:
        """The rows in order: blocks of [rows, *item_shape], dtype as in the file.

        Rows are read, not mapped: a mapped file that shrinks meanwhile kills the process.

        Raises:
            InputError: The items have another shape, or the data are not what the header claims.
            LocalDiskError: The disk failed.
        """
        header = self.header
        fitted = header.check_items(item_shape)
        with reading(header.where), self.open() as stream:
            stream.read(header.header_bytes)
            for block in array_blocks(
                stream,
                shape=header.shape,
                dtype=header.dtype,
                max_block_bytes=max_block_bytes,
                where=header.where,
            ):
                yield block.reshape(len(block), *fitted)


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Translate what reading `where` may raise.

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
        if exc.errno == errno.ELOOP:
            raise InputError(f"{where} is a link that leads in a circle; remove it") from exc
        raise LocalDiskError(f"{where} cannot be read ({exc.strerror}); check the disk") from exc


def _npy_arrays(path: Path, where: str) -> Iterator[FileArray]:
    with path.open("rb") as stream:
        header = _npy_header(stream, path.stat().st_size, where=where)
    yield FileArray(header=header, open=lambda: path.open("rb"))


def _npz_arrays(path: Path, where: str) -> Iterator[FileArray]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if not members:
            raise InputError(f"{where} is an empty archive; write it with numpy.savez")
        for member in members:
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as stream:
                header = _npy_header(stream, member.file_size, where=f"{where}:{name}")
            opened = partial(_open_member, path, member.filename)
            yield FileArray(header=header, member=name, open=opened)


def _idx_arrays(path: Path, where: str) -> Iterator[FileArray]:
    opened = partial(_open_idx, path, where)
    with opened() as stream:
        shape, dtype = read_idx_header(stream, where=where)
    header = ArrayHeader(where=where, shape=shape, dtype=dtype, header_bytes=4 + 4 * len(shape))
    with path.open("rb") as file:
        if file.read(len(GZIP_MAGIC)) != GZIP_MAGIC:
            header.check_size(path.stat().st_size)
    yield FileArray(header=header, open=opened)


#: Kind of a file -> its arrays, in the file's order.
_READERS: Mapping[str, Callable[[Path, str], Iterator[FileArray]]] = {
    "npy": _npy_arrays,
    "npz": _npz_arrays,
    "idx": _idx_arrays,
}


def file_arrays(path: Path, kind: str, *, where: str) -> list[FileArray]:
    """The arrays in a file of kind `npy`, `npz` or `idx`; only headers are read.

    Raises:
        InputError: It holds no plain array, or its size is not what the header claims.
        LocalDiskError: The disk failed.
    """
    with reading(where):
        return list(_READERS[kind](path, where))


def _npy_header(stream: IO[bytes], size_bytes: int, *, where: str) -> ArrayHeader:
    header = ArrayHeader.of_npy(stream.read(MAX_HEADER_BYTES), where=where)
    header.check_size(size_bytes)
    return header


@contextmanager
def _open_idx(path: Path, where: str) -> Iterator[IO[bytes]]:
    with path.open("rb") as file, unpacked(file, where=where) as stream:
        yield stream


def _open_member(path: Path, name: str) -> IO[bytes]:
    # The member keeps the archive open, and closes it with itself.
    with zipfile.ZipFile(path) as archive:
        return archive.open(name)


def _damaged(where: str, exc: Exception) -> InputError:
    fact = (str(exc).splitlines() or [type(exc).__name__])[0][:200]
    return InputError(f"{where} is damaged ({fact}); write it again")
