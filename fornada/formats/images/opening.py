"""Open an image file with Pillow: its kind alone, its size checked before memory is taken."""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError
from fornada.formats.images.decoders import decoder_of
from fornada.formats.images.jpeg_segments import has_one_scan
from fornada.formats.images.kinds import ImageKind, kind_of
from fornada.formats.looks import look_of

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

Pixels = NDArray[np.uint8]

#: Larger than the photographs of nearly every camera. Decoding takes 3 to 20 bytes a pixel.
MAX_PIXELS = 120_000_000
#: The most that JPEG has; what resizing takes grows with it, too.
MAX_SIDE = 65_535
MAX_FILE_BYTES = 256 * 1024 * 1024

KINDS_IN_WORDS = "JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF or HEIC"
#: Progressive photographs have about ten scans; each goes over all pixels.
_MAX_SCANNED_PIXELS = 20 * MAX_PIXELS
_SCAN = b"\xff\xda"
#: Of a parser; more, the larger the file is.
_MOST_READS = 20_000
_REMEDY = "save it again as PNG or JPEG"


class _Source(io.BytesIO):
    """A file in memory that stops a parser which reads it in millions of tiny parts."""

    def __init__(self, data: bytes, kind: ImageKind) -> None:
        super().__init__(data)
        # Pillow copies all of a GIF's comments for each part that it adds.
        self._reads_left = _MOST_READS + (0 if kind == "GIF" else len(data) // 512)

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads_left -= 1
        if self._reads_left < 0:
            raise OSError("it has too many parts")
        return super().read(size)


def sniff(data: bytes, *, where: str) -> ImageKind:
    """The kind of the image file `data`.

    Raises:
        InputError: It is empty, too large, or of none of the kinds.
    """
    if not data:
        raise InputError(f"{where} is an empty file; write it again")
    if len(data) > MAX_FILE_BYTES:
        raise InputError(
            f"{where} has {len(data)} bytes, and an image may have {MAX_FILE_BYTES}; save it "
            "smaller"
        )
    kind = kind_of(data)
    if kind is None:
        raise InputError(
            f"{where} is not an image that can be read ({look_of(bytes(data[:8]))}); give "
            f"{KINDS_IN_WORDS}"
        )
    return kind


def check_size(width: int, height: int, *, where: str) -> None:
    """Check the size that a file declares, before memory is taken for its pixels.

    Raises:
        InputError: The image is empty or too large.
    """
    if width <= 0 or height <= 0:
        raise broken(f"it declares {width}x{height} pixels", where=where)
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise InputError(
            f"{where} is {width}x{height} pixels, and an image may have {MAX_PIXELS} in all and "
            f"{MAX_SIDE} a side; save it smaller"
        )


def open_image(data: bytes, kind: ImageKind, *, where: str) -> "ImageFile":
    """Read the header of an image file; its pixels are not decoded yet.

    Not by `PIL.Image.open`: it tries formats that are not ours, and warns of large sizes, which
    are checked more strictly here; filters of warnings are not safe among threads.

    Raises:
        InputError: The file is broken or too large.
        MissingExtraError: Pillow, or what it needs for this kind, is not installed.
    """
    decoder = decoder_of(kind, where=where)
    with decoding(where=where):
        image = decoder(_Source(data, kind))
    check_size(*image.size, where=where)
    return image


@contextmanager
def decoding(*, where: str) -> Iterator[None]:
    """Whatever a decoder raises on bytes that it cannot decode is one line.

    Raises:
        InputError: The block failed.
        MemoryError: There is too little memory, which is no fault of the file.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as exc:
        raise broken(exc, where=where) from exc


def broken(why: Exception | str, *, where: str) -> InputError:
    """The error of a file that cannot be decoded."""
    if isinstance(why, str):
        fact = why
    elif isinstance(why.__cause__ or why, struct.error | EOFError):
        fact = "the file is truncated"
    else:
        fact = (str(why).splitlines() or [type(why).__name__])[0][:200]
    return InputError(f"{where} is a broken image ({fact}); {_REMEDY}")


def check_png(data: bytes) -> None:
    """Check that a PNG is whole; decoding ignores the checksums of pixels, and a missing end.

    Raises:
        Exception: It is not.
    """
    from PIL.PngImagePlugin import PngImageFile  # noqa: PLC0415 - optional package

    stream = _Source(data, "PNG")
    PngImageFile(stream).verify()
    struct.unpack(">I", stream.read(4))


def check_scans(data: bytes, width: int, height: int, *, where: str) -> None:
    """Check that a JPEG does not take minutes to decode.

    Raises:
        InputError: It has too many scans.
    """
    if has_one_scan(data):
        # Nothing needs to be counted: that takes longer than all other checks.
        return
    most = _MAX_SCANNED_PIXELS // (width * height)
    if data.count(_SCAN) > most:
        raise broken(f"more than {most} scans of {width}x{height} pixels", where=where)
