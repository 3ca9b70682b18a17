"""Tar archives of files, and indices of what is where in them."""

import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from fornada.errors import FornadaError, InputError
from fornada.formats.idx import GZIP_MAGIC

#: Bytes that tell a tar archive from other files.
HEADER_BYTES = tarfile.BLOCKSIZE
#: Two empty blocks end an archive; the tar program pads further, to records of 10 KiB.
TAR_END = bytes(2 * HEADER_BYTES)

_PLAIN_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
#: What POSIX and GNU archives have in each header, and where; older ones have nothing there.
_MAGIC, _MAGIC_AT = b"ustar", 257
#: Headers before that of a file, whose contents are its long name and other attributes.
_ATTRIBUTES_TYPES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
#: Most bytes of a name and other attributes of a file; tarfile reads them into memory whole.
MAX_ATTRIBUTES_BYTES = 256 * 1024


class Span(NamedTuple):
    """The contents of a file within an archive."""

    first_byte: int
    size_bytes: int
    sha256: str | None = None

    @property
    def end_byte(self) -> int:
        """Where they end."""
        return self.first_byte + self.size_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class TarMember:
    """A regular file in an archive."""

    name: str
    span: Span


class HeaderStep(NamedTuple):
    """What a header says about where the next one is."""

    #: From the beginning of the one to that of the other.
    size_bytes: int
    #: Whether attributes of the file whose header is next are between the two.
    has_attributes: bool


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


def header_step(data: bytes) -> HeaderStep | None:
    """How far from a header, with which `data` begins, the next is; `None` if none is there.

    Only `tar_members` knows for sure: attributes may say another size.
    """
    try:
        info = tarfile.TarInfo.frombuf(data[:HEADER_BYTES], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    # As tarfile has it: folders, links and devices have no contents, whatever size they state.
    has_contents = info.isreg() or info.type not in tarfile.SUPPORTED_TYPES
    has_attributes = info.type in _ATTRIBUTES_TYPES
    if info.size < 0:
        return None
    contents_bytes = info.size if has_contents or has_attributes else 0
    padded_bytes = contents_bytes + -contents_bytes % HEADER_BYTES
    return HeaderStep(HEADER_BYTES + padded_bytes, has_attributes)


def find_header(data: bytes, *, first_byte: int) -> int | None:
    """Where the first header in `data` is, whole blocks after `first_byte`; `None` without one.

    It is only known to look like one: a file in the archive may be an archive. Archives of before
    1988 have headers that are not found.
    """
    magic_at = data.find(_MAGIC, first_byte + _MAGIC_AT)
    while magic_at >= 0:
        at = magic_at - _MAGIC_AT
        if (at - first_byte) % HEADER_BYTES == 0 and is_tar(data[at : at + HEADER_BYTES]):
            return at
        magic_at = data.find(_MAGIC, magic_at + 1)
    return None


def has_findable_headers(head: bytes) -> bool:
    """Whether the headers of an archive that begins with `head` are such as `find_header` finds."""
    return head[_MAGIC_AT:].startswith(_MAGIC)


def tar_members(
    stream: IO[bytes],
    *,
    where: str,
    passed_over: Callable[[str, str], None] = lambda _name, _what: None,
) -> Iterator[TarMember]:
    """The regular files of an archive, in order; only headers are read.

    Between two of them the caller may seek in the stream and read from it. Folders, links, devices
    and sparse files are passed over. Names are text, whatever bytes they have.

    Args:
        stream: The archive, at its beginning; it needs to seek forward only.
        where: What it was read from, for error messages.
        passed_over: Is told of each link and sparse file: its name, what it is, and a remedy.

    Raises:
        InputError: It is not a tar archive, is damaged, or ends too early.
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
                elif info.islnk() or info.issym():
                    passed_over(info.name, "a link; pack it with tar -h --hard-dereference")
                elif info.issparse():
                    passed_over(info.name, "a sparse file; pack it without tar -S")
    except FornadaError:
        raise
    # Odd numbers in attributes give the last two.
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as exc:
        if headers.last.startswith(GZIP_MAGIC) and stream.tell() == len(headers.last):
            raise InputError(f"{where} is compressed by gzip; decompress it") from exc
        fact = (str(exc).splitlines() or [type(exc).__name__])[0][:200]
        raise _damaged(where, fact) from exc
    # tarfile takes an invalid header for the end of the archive.
    if any(headers.last):
        raise _damaged(where, f"no header at byte {stream.tell() - len(headers.last)}")


def index_json(spans: Iterable[Span]) -> bytes:
    """Where files are in an archive, as a JSON array of `[first byte, bytes]`.

    A third value is the sha256 of the contents, if it is known.
    """
    rows = [span if span.sha256 else span[:2] for span in spans]
    return json.dumps(rows, separators=(",", ":")).encode()


def parse_index(data: bytes, *, archive_bytes: int, where: str) -> list[Span]:
    """The files that `data`, as `index_json` writes it, names in an archive of that size.

    Raises:
        InputError: It is not such an index, or a file is not within the archive.
    """
    try:
        return [_span(row, archive_bytes) for row in json.loads(data)]
    except (ValueError, TypeError, RecursionError) as exc:
        raise InputError(
            f"{where} is not an index of a tar archive of {archive_bytes} bytes ({exc}); submit it "
            "again"
        ) from exc


def _span(row: Any, archive_bytes: int) -> Span:
    span = Span(*row)
    are_counts = all(type(count) is int and count >= 0 for count in span[:2])
    if not are_counts or not isinstance(span.sha256, str | None):
        raise ValueError(f"it has {str(row)[:80]}")
    if span.end_byte > archive_bytes:
        raise ValueError(f"a file ends at byte {span.end_byte}")
    return span


class _Headers:
    """A stream for tarfile, which reads attributes of any size into memory, and seeks backward."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._is_one_back = False
        #: What was read last.
        self.last = b""

    def read(self, size: int) -> bytes:
        if size > MAX_ATTRIBUTES_BYTES:
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
