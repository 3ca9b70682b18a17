"""What is read of a JPEG's segments is what Pillow reads, or nothing."""

import io

import pytest
from PIL import Image

from fornada.formats.images.jpeg_segments import stated_orientation, stated_size

_ORIENTATION = 0x0112


def _jpeg(exif: bytes | Image.Exif = b"", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30)).save(file, "JPEG", exif=exif, **options)
    return file.getvalue()


def _exif(orientation: int | None, endian: str = "<") -> Image.Exif:
    made = Image.Exif()
    made.endian = endian
    made[0x010F], made[0x0132] = "Maker", "2026:11:29 12:00:00"
    if orientation is not None:
        made[_ORIENTATION] = orientation
    return made


@pytest.mark.parametrize("endian", ["<", ">"])
def test_orientation_and_size_are_those_that_pillow_reads(endian: str) -> None:
    for orientation in (None, *range(1, 9)):
        for progressive in (False, True):
            data = _jpeg(_exif(orientation, endian), progressive=progressive)
            assert (orientation or 1) == stated_orientation(data)
            with Image.open(io.BytesIO(data)) as opened:
                assert opened.getexif().get(_ORIENTATION, 1) == stated_orientation(data)
            assert (40, 30) == stated_size(data)
    assert 1 == stated_orientation(_jpeg())


def test_odd_exif_data_are_left_to_a_whole_reader() -> None:
    plain = _jpeg(_exif(6))
    at = plain.index(b"Exif\0\0")
    entry = plain.index(b"\x12\x01\x03\0", at)
    long_kind = plain[: entry + 2] + b"\x04" + plain[entry + 3 :]
    beyond = plain[: entry + 8] + b"\x09" + plain[entry + 9 :]
    no_order = plain.replace(b"II*\0", b"JJ*\0")
    far = plain.replace(b"II*\0\x08", b"II*\0\xff")
    twice = plain[:2] + 2 * plain[2 : plain.index(b"\xff\xdb")] + plain[plain.index(b"\xff\xdb") :]
    for odd in (long_kind, beyond, no_order, far, twice, _jpeg(xmp=b"<x tiff:Orientation='6'/>")):
        assert odd != plain
        assert stated_orientation(odd) is None


def test_what_is_cut_off_or_no_jpeg_is_no_error() -> None:
    whole = _jpeg(_exif(6))
    for end in range(3, len(whole)):
        assert stated_orientation(whole[:end]) in {None, 6}
        assert stated_size(whole[:end]) in {None, (40, 30)}
    for data in (b"", b"\xff\xd8\xff", b"\xff\xd8\xff" + b"\xff" * 1000):
        assert (None, None) == (stated_orientation(data), stated_size(data))
