"""A file that is read by ranges, as an object in a store is, as pyarrow wants it."""

import io
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from fornada.parallel import in_parallel

#: Read with one request; several are read at a time.
_PIECE_BYTES = 8 * 1024 * 1024
#: Spans that are nearer than this are read as one.
_NEAR_BYTES = 64 * 1024

#: First byte, count -> the bytes.
ReadRange = Callable[[int, int], bytes]


class Span(NamedTuple):
    """Some bytes of a file."""

    first_byte: int
    end_byte: int


class RangedFile(io.RawIOBase):
    """Bytes of `size_bytes` that `read_range` gives; those that were loaded are at hand."""

    def __init__(self, read_range: ReadRange, *, size_bytes: int) -> None:
        super().__init__()
        self._read_range = read_range
        self.size_bytes = size_bytes
        self._at = 0
        self._starts: list[int] = []
        self._pieces: list[bytes] = []

    def load(self, spans: Iterable[Span]) -> None:
        """Read these spans now, several ranges at a time, in place of what was loaded before."""
        pieces = _pieces(sorted(spans))
        self._pieces = list(in_parallel(lambda p: self._exactly(p.first_byte, p.end_byte), pieces))
        self._starts = [piece.first_byte for piece in pieces]

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a byte."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size_bytes}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """The byte that is read next."""
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, fewer at the end."""
        left = max(0, self.size_bytes - self._at)
        count = left if size < 0 else min(size, left)
        data = self.part(self._at, self._at + count)
        self._at += count
        return data

    def readinto(self, buffer: Any, /) -> int:
        """Read the next bytes into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def part(self, first: int, end: int) -> bytes:
        """The bytes from `first` to `end`, which is no further than the file's."""
        parts: list[bytes] = []
        at = first
        while at < end:
            number = bisect_right(self._starts, at) - 1
            piece = self._pieces[number] if number >= 0 else b""
            offset = at - self._starts[number] if number >= 0 else 0
            if offset >= len(piece):
                # Nothing that was announced.
                return self._exactly(first, end)
            parts.append(piece[offset : offset + end - at])
            at += len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _exactly(self, first: int, end: int) -> bytes:
        return self._read_range(first, end - first) if end > first else b""


def _pieces(spans: Sequence[Span]) -> list[Span]:
    """The spans joined where they are near, and cut where they are long."""
    joined: list[Span] = []
    for span in spans:
        if joined and span.first_byte - joined[-1].end_byte <= _NEAR_BYTES:
            joined[-1] = Span(joined[-1].first_byte, max(joined[-1].end_byte, span.end_byte))
        else:
            joined.append(span)
    return [
        Span(first, min(first + _PIECE_BYTES, span.end_byte))
        for span in joined
        for first in range(span.first_byte, span.end_byte, _PIECE_BYTES)
    ]
