"""PNG and JPEG files to arrays of exactly the shape that a model takes."""

import contextlib
import io
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from PIL.Image import Image


PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
#: Suffixes of image files, in lower case.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")

_Size = tuple[int, int]
_Mode = Literal["L", "RGB"]

_EXIF_ORIENTATION = 0x0112
#: EXIF orientations that exchange width and height.
_ON_ITS_SIDE = (5, 6, 7, 8)
_REMEDY = "save it again as PNG or JPEG"


def image_frame(item_shape: Sequence[int], *, where: str) -> tuple[_Size, _Mode]:
    """The (width, height) and Pillow mode of images that are items of `item_shape`.

    Raises:
        InputError: Items of that shape are not images.
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
        InputError: The file is neither PNG nor JPEG, or is broken.
        MissingExtraError: Pillow is not installed.
    """
    image = _open(data, where=where)
    grey = image.mode in {"1", "L", "LA"} or image.mode.startswith("I")
    width, height = image.size[::-1] if _orientation(image) in _ON_ITS_SIDE else image.size
    return (height, width) if grey else (height, width, 3)


def decode_image(data: bytes, *, item_shape: Sequence[int], where: str) -> NDArray[np.uint8]:
    """The pixels of a PNG or JPEG file: uint8 of exactly `item_shape`.

    The declared size is checked before anything is decoded. The pixels are those that
    `keras.utils.load_img` returns in training: alpha is dropped, palettes are resolved, grey and
    colour are converted into each other. In addition, a photograph is turned upright as its EXIF
    orientation says, and of 16-bit channels the upper 8 bits are taken.

    Args:
        data: The file.
        item_shape: [height, width] or [height, width, 1] for grey, [height, width, 3] for RGB.
        where: What the bytes were read from, for error messages.

    Raises:
        InputError: The file is neither PNG nor JPEG, or is broken, animated, or of another size.
        MissingExtraError: Pillow is not installed.
    """
    size, mode = image_frame(item_shape, where=where)
    image = _open(data, where=where)
    # A photograph on its side declares width and height the other way round.
    if image.size not in {size, size[::-1]}:
        raise _wrong_size(image.size, size, where=where)
    try:
        image.load()
        _turn_upright(image)
        pixels = _pixels(image, mode)
    except Exception as exc:
        raise _broken(exc, where=where) from exc
    if image.size != size:
        raise _wrong_size(image.size, size, where=where)
    return pixels.reshape(item_shape)


def _open(data: bytes, *, where: str) -> "Image":
    """Read the header, and check that a PNG is whole; takes no memory for pixels."""
    try:
        from PIL.JpegImagePlugin import JpegImageFile  # noqa: PLC0415 - optional package
        from PIL.PngImagePlugin import PngImageFile  # noqa: PLC0415 - optional package
    except ImportError as exc:
        raise MissingExtraError(
            f"{where} is an image, and Pillow is not installed; pip install 'fornada[images]'"
        ) from exc
    # Not Image.open: it warns of large sizes, which are checked more strictly here, and filters
    # of warnings are not safe among threads.
    try:
        if data.startswith(JPEG_MAGIC):
            return JpegImageFile(io.BytesIO(data))
        if data.startswith(PNG_MAGIC):
            image = PngImageFile(io.BytesIO(data))
            # Decoding ignores the checksums of pixels, and a missing end.
            stream = io.BytesIO(data)
            PngImageFile(stream).verify()
            struct.unpack(">I", stream.read(4))
    except Exception as exc:
        raise _broken(exc, where=where) from exc
    if not data.startswith(PNG_MAGIC):
        raise InputError(
            f"{where} is neither PNG nor JPEG (it begins with {bytes(data[:8])!r}); {_REMEDY}"
        )
    if image.custom_mimetype == "image/apng":
        raise InputError(f"{where} is an animated PNG; save one frame of it")
    return image


def _orientation(image: "Image") -> object:
    """The EXIF orientation; damaged EXIF data are common, and mean upright."""
    from PIL.Image import Image as AnyImage  # noqa: PLC0415 - optional package

    with contextlib.suppress(Exception):
        # Not the override for PNG, which decodes the pixels to look for EXIF data behind them.
        return AnyImage.getexif(image).get(_EXIF_ORIENTATION, 1)
    return 1


def _turn_upright(image: "Image") -> None:
    from PIL.ImageOps import exif_transpose  # noqa: PLC0415 - optional package

    if _orientation(image) == 1:
        return
    # Nothing of it matters to the pixels any more, and Pillow would write damaged EXIF data anew.
    image.info.clear()
    exif_transpose(image, in_place=True)


def _pixels(image: "Image", mode: _Mode) -> NDArray[np.uint8]:
    # Alpha is dropped below; the transparency of a palette would make Pillow warn.
    image.info.pop("transparency", None)
    if image.mode.startswith("I"):
        # Pillow clips 16-bit grey to 255; of 16-bit colours it takes the upper bits itself.
        grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return grey if mode == "L" else np.repeat(grey[..., np.newaxis], 3, axis=2)
    return np.asarray(image.convert(mode), dtype=np.uint8)


def _wrong_size(have: _Size, want: _Size, *, where: str) -> InputError:
    return InputError(
        f"{where} is {have[0]}x{have[1]} pixels, and the model takes {want[0]}x{want[1]} "
        "(width x height); resize before you submit"
    )


def _broken(exc: Exception, *, where: str) -> InputError:
    if isinstance(exc.__cause__ or exc, struct.error):
        fact = "the file is truncated"
    else:
        fact = (str(exc).splitlines() or [type(exc).__name__])[0][:200]
    return InputError(f"{where} is a broken image ({fact}); {_REMEDY}")
