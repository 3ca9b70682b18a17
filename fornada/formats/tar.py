"""Tar archives of files: written without padding at the end, and walked within bounded memory."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from fornada.errors import FornadaError, InputError

#: Bytes that tell a tar archive from other files.
HEADER_BYTES = tarfile.BLOCKSIZE
#: Two empty blocks end an archive; the tar program pads further, to records of 10 KiB.
TAR_END = bytes(2 * HEADER_BYTES)

_PLAIN_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
#: Most bytes of a name and other attributes of a file; tarfile reads them into memory whole.
_MAX_ATTRIBUTES_BYTES = 256 * 1024


class Span(NamedTuple):
    """Bytes within a larger object."""

    first_byte: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TarMember:
    """A regular file in an archive."""

    name: str
    #: Its contents.
    span: Span


def tar_header(name: str, size_bytes: int) -> bytes:
    """The header of a file with `size_bytes`; always the same bytes.

    Args:
        name: Up to 100 ASCII characters.
        size_bytes: Bytes of its contents, which follow, filled up with `tar_padding`.
    """
    info = tarfile.TarInfo(name)
    info.size = size_bytes
    return info.tobuf(tarfile.USTAR_FORMAT)


def tar_padding(size_bytes: int) -> bytes:
    """What follows the contents of a file with `size_bytes`."""
    return bytes(-size_bytes % HEADER_BYTES)


def is_tar(head: bytes) -> bool:
    """Whether a file that begins with `head`, 512 bytes, is a tar archive."""
    try:
        tarfile.TarInfo.frombuf(head[:HEADER_BYTES], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def tar_members(stream: IO[bytes], *, where: str) -> Iterator[TarMember]:
    """The regular files of an archive, in order; headers alone are read.

    Between two of them the caller may seek in the stream and read from it. Folders, links, devices
    and sparse files are passed over. Names are text, whatever bytes they have.

    Args:
        stream: The archive, at its beginning; it needs to seek forward only.
        where: What it was read from, for error messages.

    Raises:
        InputError: It is no tar archive, is damaged, or ends too early.
    """
    headers: Any = _Headers(stream)
    try:
        with tarfile.open(
            fileobj=headers, mode="r:", errors="backslashreplace", encoding="utf-8"
        ) as archive:
            while (info := archive.next()) is not None:
                # Else tarfile keeps all of them.
                archive.members = []  # type: ignore[attr-defined]  # typeshed lacks it
                if info.type in _PLAIN_TYPES and not info.issparse():
                    span = Span(info.offset_data, info.size)
                    yield TarMember(name=info.name, span=span)
    except FornadaError:
        raise
    # Odd numbers in attributes give the last two.
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as exc:
        fact = (str(exc).splitlines() or [type(exc).__name__])[0][:200]
        raise _damaged(where, fact) from exc
    # For tarfile a header that is none ends the archive.
    if any(headers.last):
        raise _damaged(where, f"no header at byte {stream.tell() - len(headers.last)}")


class _Headers:
    """A stream for tarfile, which reads attributes of any size into memory, and seeks backward."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._is_one_back = False
        #: What was read last.
        self.last = b""

    def read(self, size: int) -> bytes:
        if size > _MAX_ATTRIBUTES_BYTES:
            raise tarfile.ReadError(f"a file has {size} bytes of attributes")
        if self._is_one_back:
            self._is_one_back = False
            return b"\0"
        self.last = self._stream.read(size)
        return self.last

    def seek(self, offset: int, whence: int = 0) -> int:
        # It looks whether the last byte of a file is there; a compressed stream would begin anew.
        if whence == 0 and offset == self._stream.tell() - 1:
            self._is_one_back = True
            return offset
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


def _damaged(where: str, fact: str) -> InputError:
    return InputError(f"{where} is a damaged tar archive ({fact}); write it again")
