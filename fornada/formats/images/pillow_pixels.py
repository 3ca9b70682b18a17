"""Decode images with Pillow: as `keras.utils.load_img`, or as Fornada did before it resized."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fornada.formats.images.framing import Size, check_unresized, inner_frame
from fornada.formats.images.kinds import ImageKind
from fornada.formats.images.opening import check_png, check_scans, decoding, open_image, sniff
from fornada.formats.images.orientation import turn_upright, upright_size
from fornada.formats.items import Array
from fornada.tensors import ImagePreprocessing

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
#: Grey of more than 8 bits, which `load_img` leaves as it is.
_DEEP_GREY = ("I;16", "I")


def load_img(
    data: bytes,
    kind: ImageKind,
    *,
    size: Size,
    channels: int,
    image: ImagePreprocessing,
    where: str,
) -> Array:
    """The pixels [height, width, channels] that `keras.utils.load_img` gives.

    Raises:
        InputError: The file is broken, or of another size and not to be resized.
        MissingExtraError: Pillow, or what it needs for this kind, is not installed.
    """
    opened = _loaded(data, kind, where=where)
    with decoding(where=where):
        if image.exif:
            turn_upright(opened)
        converted = _as_load_img(opened, channels)
    height, width = size[0] or converted.height, size[1] or converted.width
    if image.resize == "none":
        check_unresized(converted.size, (size[1], size[0]), where=where)
    elif converted.size != (width, height):
        converted = _resized(converted, width, height, image, where=where)
    pixels = np.asarray(converted)
    return pixels.reshape(height, width, channels)


def _loaded(data: bytes, kind: ImageKind, *, where: str) -> "Image":
    image = open_image(data, kind, where=where)
    if kind == "JPEG":
        check_scans(data, *image.size, where=where)
    with decoding(where=where):
        if kind == "PNG":
            check_png(data)
        image.load()
    return image


def _as_load_img(image: "Image", channels: int) -> "Image":
    # It would make Pillow warn, and has no part in the pixels.
    if channels != 4 and isinstance(image.info.get("transparency"), bytes):  # noqa: PLR2004 - RGBA
        del image.info["transparency"]
    mode = _MODES[channels]
    if mode == "L" and image.mode in _DEEP_GREY:
        return image
    return in_mode(image, mode)


def in_mode(image: "Image", mode: str) -> "Image":
    """The image in another mode of Pillow; itself, not a copy, where it has that mode."""
    return image if image.mode == mode else image.convert(mode)


def _resized(
    image: "Image", width: int, height: int, how: ImagePreprocessing, *, where: str
) -> "Image":
    from PIL.Image import new  # noqa: PLC0415 - optional package

    with decoding(where=where):
        if how.resize != "pad":
            box = _middle(image, width, height) if how.resize == "crop" else None
            return image.resize((width, height), _resampling(how), box=box)
        # `load_img` itself has no padding.
        inner = inner_frame(image.height, image.width, height, width)
        padded = new(image.mode, (width, height))
        content = image.resize((inner.width, inner.height), _resampling(how))
        padded.paste(content, (inner.left, inner.top))
    return padded


def _middle(image: "Image", width: int, height: int) -> tuple[int, int, int, int]:
    """The largest box in the middle of an image with the aspect ratio of `width` to `height`."""
    crop_height = min(image.height, image.width * height // width)
    crop_width = min(image.width, image.height * width // height)
    top, left = (image.height - crop_height) // 2, (image.width - crop_width) // 2
    return left, top, left + crop_width, top + crop_height


def _resampling(how: ImagePreprocessing) -> "Resampling":
    from PIL.Image import Resampling  # noqa: PLC0415 - optional package

    names = {
        "nearest": Resampling.NEAREST,
        "bilinear": Resampling.BILINEAR,
        "bicubic": Resampling.BICUBIC,
        "lanczos": Resampling.LANCZOS,
        "area": Resampling.BOX,
    }
    return names[how.interpolation]


def pillow_pixels(
    data: bytes, kind: ImageKind, *, channels: int, exif: bool, where: str
) -> NDArray[np.uint8]:
    """The pixels uint8 [height, width, channels] of any image, by Pillow.

    Alpha is dropped, palettes are resolved, grey and colour are converted into each other; of
    16-bit channels the upper 8 bits are taken.

    Raises:
        InputError: The file is broken or too large.
        MissingExtraError: Pillow is not installed.
    """
    image = _loaded(data, kind, where=where)
    with decoding(where=where):
        if exif:
            turn_upright(image)
        pixels = _pixels(image, _MODES[channels])
    return pixels.reshape(image.height, image.width, channels)


def _pixels(image: "Image", mode: str) -> NDArray[np.uint8]:
    if mode != "RGBA":
        # Alpha is dropped below; the transparency of a palette would make Pillow warn.
        image.info.pop("transparency", None)
    if image.mode.startswith("I"):
        # Pillow clips 16-bit grey to 255; of 16-bit colours it takes the upper bits itself.
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        if mode == "L":
            return grey
        return np.asarray(_from_grey(grey, mode))
    return np.asarray(in_mode(image, mode))


def _from_grey(grey: NDArray[np.uint8], mode: str) -> "Image":
    from PIL.Image import fromarray  # noqa: PLC0415 - optional package

    return fromarray(grey).convert(mode)


def image_shape(data: bytes, *, where: str) -> tuple[int, ...]:
    """The item shape of an image file: (height, width) if it is grey, else with 3 channels.

    Raises:
        InputError: The file is not an image, or is broken.
        MissingExtraError: Pillow is not installed.
    """
    image = open_image(data, sniff(data, where=where), where=where)
    grey = image.mode in {"1", "L", "LA"} or image.mode.startswith("I")
    width, height = upright_size(image)
    return (height, width) if grey else (height, width, 3)
