"""What a JPEG file says before its pixels: size and EXIF orientation, for microseconds."""

import struct
from collections.abc import Iterator

_SCAN, _APP1 = 0xDA, 0xE1
#: Markers of a frame, whose segment has the size.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Of those, baseline and extended sequential.
_SEQUENTIAL = {0xC0, 0xC1}
#: Markers that say no length, and what is none.
_WITHOUT_LENGTH = frozenset({0x00, 0x01, 0xFF, *range(0xD0, 0xDA)})
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/"
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_ORIENTATION, _SHORT = 0x0112, 3
_MOST_ENTRIES = 1_000
#: Before the pixels.
_MOST_SEGMENTS = 10_000


def segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and position of each segment, up to the first scan, or to what is no segment."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        marker = int.from_bytes(data[at + 1 : at + 2])
        yield marker, at
        if data[at : at + 1] != b"\xff" or marker == _SCAN:
            break
        at += 2 + int.from_bytes(data[at + 2 : at + 4])


def stated_size(data: bytes) -> tuple[int, int] | None:
    """Width and height, if the file says them where most do."""
    for marker, at in segments(data):
        if marker in _FRAMES and len(data) >= at + 9:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
    return None


def has_one_scan(data: bytes) -> bool:
    """Whether all pixels are in one scan, as in most photographs; decoders refuse a second.

    `False` where the segments are not plain, and a decoder may find others.
    """
    component_count = b""
    for marker, at in segments(data):
        if data[at : at + 1] != b"\xff" or marker in _WITHOUT_LENGTH:
            return False
        if marker in _FRAMES:
            if component_count or marker not in _SEQUENTIAL:
                return False
            component_count = data[at + 9 : at + 10]
        if marker == _SCAN:
            return component_count != b"" and component_count == data[at + 4 : at + 5]
    return False


def stated_orientation(data: bytes) -> int | None:
    """The EXIF orientation, 1 where nothing says any; `None` where it takes a whole reader.

    That is damaged or unusual EXIF data, and XMP, which may have one.
    """
    found, marker = None, 0
    for marker, at in segments(data):
        if marker != _APP1:
            continue
        head = data[at + 4 : at + 28]
        if head.startswith(_XMP) or (head.startswith(_EXIF) and found is not None):
            return None
        if head.startswith(_EXIF):
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
            found = _orientation(data[at + 10 : end])
            if found is None:
                return None
    if marker != _SCAN:
        return None
    return 1 if found is None else found


def _orientation(exif: bytes) -> int | None:
    """What the first directory of EXIF data says, 1 if nothing; `None` where that is not plain."""
    order = _BYTE_ORDERS.get(exif[:4])
    if order is None or len(exif) < 8:  # noqa: PLR2004 - the header
        return None
    (at,) = struct.unpack_from(f"{order}I", exif, 4)
    if at + 2 > len(exif):
        return None
    (count,) = struct.unpack_from(f"{order}H", exif, at)
    if count > _MOST_ENTRIES or at + 2 + 12 * count > len(exif):
        return None
    found = []
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values, value = struct.unpack_from(f"{order}HHIH", exif, entry)
        if tag == _ORIENTATION:
            is_plain = (kind, values) == (_SHORT, 1) and 1 <= value <= 8  # noqa: PLR2004 - orientations
            found.append(value if is_plain else None)
    return found[0] if len(found) == 1 else None if found else 1
