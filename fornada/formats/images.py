"""PNG and JPEG files as arrays of exactly the shape that a model takes."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from PIL.Image import Image


PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
#: How the names of image files end, in lower case.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")

_Size = tuple[int, int]
_Mode = Literal["L", "RGB"]

_EXIF_ORIENTATION = 0x0112
_REMEDY = "save it again as PNG or JPEG"


def image_frame(item_shape: Sequence[int], *, where: str) -> tuple[_Size, _Mode]:
    """(width, height) and Pillow's mode of the images that are items of `item_shape`.

    Raises:
        InputError: Such items are not images.
    """
    match list(item_shape):
        case [height, width] | [height, width, 1]:
            return (width, height), "L"
        case [height, width, 3]:
            return (width, height), "RGB"
    raise InputError(
        f"{where} is an image, and the model takes items of shape {tuple(item_shape)}, which are "
        "neither grey nor RGB images; give arrays (.npy)"
    )


def image_shape(data: bytes, *, where: str) -> tuple[int, ...]:
    """The item shape of a PNG or JPEG file: (height, width) if it is grey, else with 3 channels.

    Raises:
        InputError: Neither PNG nor JPEG, or broken.
        MissingExtraError: Pillow is not installed.
    """
    image = _open(data, where=where)
    grey = image.mode in {"1", "L", "LA"} or image.mode.startswith("I")
    width, height = _upright(image).size
    return (height, width) if grey else (height, width, 3)


def decode_image(data: bytes, *, item_shape: Sequence[int], where: str) -> NDArray[np.uint8]:
    """The pixels of a PNG or JPEG file: uint8 of exactly `item_shape`.

    The size that the file declares is checked before anything is decoded. The pixels are those
    that `keras.utils.load_img` gives in training: alpha is dropped, palettes are looked up, grey
    and colour are converted into each other. Besides, a photograph is turned upright as its EXIF
    orientation says, and the upper 8 bits are taken where a channel has 16.

    Args:
        data: The file.
        item_shape: [height, width] or [height, width, 1] for grey, [height, width, 3] for RGB.
        where: What the bytes were read from, for the error message.

    Raises:
        InputError: Neither PNG nor JPEG, broken, animated, or of another size.
        MissingExtraError: Pillow is not installed.
    """
    size, mode = image_frame(item_shape, where=where)
    image = _open(data, where=where)
    # A photograph that lies on its side declares its sides the other way round.
    if image.size not in {size, size[::-1]}:
        raise _wrong_size(image.size, size, where=where)
    try:
        image.load()
        upright = _upright(image)
        pixels = _pixels(upright, mode)
    except Exception as exc:
        raise _broken(exc, where=where) from exc
    if upright.size != size:
        raise _wrong_size(upright.size, size, where=where)
    return pixels.reshape(item_shape)


def _open(data: bytes, *, where: str) -> "Image":
    """Read the header. Nothing is decoded yet, and no memory taken for pixels."""
    try:
        from PIL.JpegImagePlugin import JpegImageFile  # noqa: PLC0415 - optional package
        from PIL.PngImagePlugin import PngImageFile  # noqa: PLC0415 - optional package
    except ImportError as exc:
        raise MissingExtraError(
            f"{where} is an image, and Pillow is not installed; pip install 'fornada[images]'"
        ) from exc
    if data.startswith(PNG_MAGIC):
        _check_png(data, where=where)
        image_file: type[JpegImageFile | PngImageFile] = PngImageFile
    elif data.startswith(JPEG_MAGIC):
        image_file = JpegImageFile
    else:
        raise InputError(
            f"{where} is neither PNG nor JPEG (it begins with {bytes(data[:8])!r}); {_REMEDY}"
        )
    try:
        # Not Image.open: it warns (of bombs, of photographs in pairs), and filters of warnings
        # are not safe among threads. The size is checked more strictly here anyway.
        return image_file(io.BytesIO(data))
    except Exception as exc:
        raise _broken(exc, where=where) from exc


def _check_png(data: bytes, *, where: str) -> None:
    """Check what Pillow does not: the checksums, the end, and that it is not animated."""
    view = memoryview(data)
    position, kind = len(PNG_MAGIC), b""
    while kind != b"IEND":
        if len(data) < position + 12:
            raise InputError(f"{where} is a truncated PNG ({len(data)} bytes); {_REMEDY}")
        length, kind = struct.unpack_from(">I4s", data, position)
        begin, position = position + 4, position + 12 + length
        if kind == b"acTL":
            raise InputError(f"{where} is an animated PNG; save one frame of it")
        # A capital letter marks the chunks that matter to the pixels.
        if kind[:1].isupper() and position <= len(data):
            (checksum,) = struct.unpack_from(">I", data, position - 4)
            if checksum != zlib.crc32(view[begin : position - 4]):
                raise InputError(f"{where} is a damaged PNG (checksum of {kind!r}); {_REMEDY}")


def _upright(image: "Image") -> "Image":
    """Turn the image as its EXIF orientation says."""
    from PIL.Image import Transpose  # noqa: PLC0415 - optional package

    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(_orientation(image.info.get("exif", b"")))
    return image if turn is None else image.transpose(turn)


def _orientation(exif: bytes) -> int:
    # Pillow's reader warns of damaged EXIF data, which is common; here it means upright.
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2], "<")
    try:
        (offset,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, offset)
        for entry in range(count):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, offset + 2 + 12 * entry)
            if tag == _EXIF_ORIENTATION:
                return int(value)
    except struct.error:
        pass
    return 1


def _pixels(image: "Image", mode: _Mode) -> NDArray[np.uint8]:
    # Transparency of palettes would only make Pillow warn; alpha is dropped below.
    image.info.pop("transparency", None)
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit grey to 255; its 16-bit colours have the upper bits already.
        grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return grey if mode == "L" else np.repeat(grey[..., np.newaxis], 3, axis=2)
    return np.asarray(image.convert(mode), dtype=np.uint8)


def _wrong_size(have: _Size, want: _Size, *, where: str) -> InputError:
    return InputError(
        f"{where} is {have[0]}x{have[1]} pixels, and the model takes {want[0]}x{want[1]} "
        "(width x height); resize before you submit"
    )


def _broken(exc: Exception, *, where: str) -> InputError:
    fact = (str(exc).splitlines() or [type(exc).__name__])[0][:200]
    return InputError(f"{where} is a broken image ({fact}); {_REMEDY}")
