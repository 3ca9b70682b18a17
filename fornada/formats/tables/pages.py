"""The pages of a Parquet column chunk, whose headers claim sizes that pyarrow believes."""

from collections.abc import Callable
from typing import NamedTuple

from fornada.errors import InputError

#: Of a page's header, which may have statistics.
_HEADER_BYTES = 64 * 1024
#: A page has some ten thousand rows.
_MOST_PAGES = 65_536
#: Structs in a page's header, one in another.
_MOST_DEPTH = 4

_BOOLEANS, _INTEGERS = (1, 2), (4, 5, 6)
_BYTE, _DOUBLE, _BINARY, _LISTS, _STRUCT = 3, 7, 8, (9, 10), 12
_WIDE_FIELD, _LONG_LIST = 0, 15

#: First byte, end -> the bytes.
ReadBytes = Callable[[int, int], bytes]


class Claims(NamedTuple):
    """What pages have in all."""

    #: Decompressed, without their headers.
    size_bytes: int
    value_count: int


def claimed_by_pages(read: ReadBytes, first: int, end: int, *, where: str) -> Claims:
    """What the headers of all pages of a column chunk claim.

    Args:
        read: Gives bytes of the file.
        first: Where the chunk begins.
        end: Where it ends.
        where: For error messages.

    Raises:
        InputError: A header is damaged, or there are too many pages.
    """
    at = first
    size_bytes = value_count = 0
    for _ in range(_MOST_PAGES):
        if at >= end:
            return Claims(size_bytes, value_count)
        header = _Header(read(at, min(end, at + _HEADER_BYTES)))
        try:
            header.read_struct((), 0)
        except (IndexError, ValueError) as exc:
            raise _damaged(where) from exc
        packed = header.numbers.get(_PACKED, -1)
        unpacked = header.numbers.get(_UNPACKED, -1)
        counts = [header.numbers.get(place, 0) for place in _COUNTS]
        if packed < 0 or unpacked < 0 or any(count < 0 for count in counts):
            raise _damaged(where)
        size_bytes += unpacked
        value_count += max(counts)
        at += header.at + packed
    raise InputError(f"{where} has a column of over {_MOST_PAGES} pages; write larger pages")


def _damaged(where: str) -> InputError:
    return InputError(f"{where} cannot be read (a page's header is damaged); write it again")


#: Numbers of fields in `PageHeader` of the format's Thrift definition.
_UNPACKED, _PACKED = (2,), (3,)
#: Values in a data page, a dictionary page, and a data page of the second kind.
_COUNTS = ((5, 1), (7, 1), (8, 1))


class _Header:
    """A struct in Thrift's compact protocol, of which the integers are kept."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0
        #: Numbers of the fields that lead to an integer -> the integer.
        self.numbers: dict[tuple[int, ...], int] = {}

    def read_struct(self, place: tuple[int, ...], depth: int) -> None:
        if depth > _MOST_DEPTH:
            raise ValueError
        number = 0
        while True:
            byte = self._byte()
            if not byte:
                return
            delta, kind = byte >> 4, byte & 15
            number = self._zigzag() if delta == _WIDE_FIELD else number + delta
            self._value(kind, (*place, number), depth)

    def _value(self, kind: int, place: tuple[int, ...], depth: int) -> None:
        if kind in _INTEGERS:
            self.numbers[place] = self._zigzag()
        elif kind == _STRUCT:
            self.read_struct(place, depth + 1)
        elif kind == _BINARY:
            self._skip(self._varint())
        elif kind == _DOUBLE:
            self._skip(8)
        elif kind == _BYTE:
            self._skip(1)
        elif kind in _LISTS:
            self._list(place, depth)
        elif kind not in _BOOLEANS:
            # A page's header has no maps.
            raise ValueError

    def _list(self, place: tuple[int, ...], depth: int) -> None:
        byte = self._byte()
        count = byte >> 4 if byte >> 4 != _LONG_LIST else self._varint()
        for _ in range(min(count, len(self._data))):
            if byte & 15 in _BOOLEANS:
                self._skip(1)
            else:
                self._value(byte & 15, (*place, 0), depth + 1)

    def _byte(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        return byte

    def _skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self._data):
            raise IndexError

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:  # noqa: PLR2004 - the highest bit says that more follows
                return value
        raise ValueError

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
