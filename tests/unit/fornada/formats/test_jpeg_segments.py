"""What is read of a JPEG's segments is what Pillow reads, or nothing."""

import contextlib
import io
import time

import pytest
from PIL import Image

from fornada.errors import InputError
from fornada.formats.images import decode_item
from fornada.formats.images.jpeg_segments import has_one_scan, stated_orientation, stated_size
from fornada.tensors import ImagePreprocessing, InputTensor

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


def test_a_photograph_has_one_scan_unless_it_or_a_decoder_may_have_more() -> None:
    plain, progressive = _jpeg(_exif(6)), _jpeg(progressive=True)
    frame, scan = plain.index(b"\xff\xc0"), plain.index(b"\xff\xda")
    # a second frame; a scan of one component of three; fill bytes and markers without length,
    # after which a decoder reads on elsewhere; rubbish between segments; a cut
    odd = [
        progressive,
        plain[:scan] + plain[frame:scan] + plain[scan:],
        plain[: scan + 4] + b"\x01" + plain[scan + 5 :],
        plain[:frame] + b"\xff" + plain[frame:],
        plain[:frame] + b"\xff\xd0" + plain[frame:],
        plain[:scan] + b"\0\xda" + plain[scan + 2 :],
        plain[: scan + 4],
        b"",
    ]

    assert has_one_scan(plain)
    assert has_one_scan(_jpeg(subsampling="4:4:4"))
    assert [False] * len(odd) == [has_one_scan(each) for each in odd]


@pytest.mark.parametrize("like", ["image_dataset_from_directory", "load_img"])
def test_decoders_go_over_a_file_of_one_scan_once_however_many_follow(like: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (2000, 2000)).save(file, "JPEG")
    plain = file.getvalue()
    scan, end = plain.index(b"\xff\xda"), plain.rindex(b"\xff\xd9")
    many = plain[:end] + 300 * plain[scan:end] + plain[end:]
    image = ImagePreprocessing.model_validate({"like": like})
    taken = InputTensor(name="x", dtype="uint8", shape=[30, 40, 3], image=image)

    assert has_one_scan(many)
    began_s = time.process_time()
    with contextlib.suppress(InputError):
        decode_item(many, taken=taken, where="x")

    # One takes some 20 ms.
    assert time.process_time() - began_s < 1
