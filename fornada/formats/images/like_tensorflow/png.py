"""PNG files to the pixels that TensorFlow decodes: by Pillow, its odd conversions after it."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fornada.formats.images.opening import Pixels, check_png, decoding, open_image
from fornada.formats.images.pillow_pixels import in_mode

if TYPE_CHECKING:
    from PIL.Image import Image

#: Where the header has them.
_BIT_DEPTH_AT = 24
_GREY_MODES = ("1", "L", "LA")
_DEEP = 16
#: Weights of red, green and blue in grey; their sum is 2**15.
_GREY_WEIGHTS = (9797, 19234, 3737)
#: libpng takes a gamma between these as none.
_NO_GAMMA = (0.95, 1.05)
_SRGB_GAMMA = 0.45455


def png_pixels(data: bytes, channels: int, *, where: str) -> Pixels:
    """The pixels uint8 [height, width, channels].

    Of 16-bit channels the upper 8 bits are taken. Grey of 16-bit colours is computed from those,
    and may differ from TensorFlow's by 1, in files with a gamma by more.

    Raises:
        InputError: The file is broken, or too large.
        MissingExtraError: Pillow is not installed.
    """
    image = open_image(data, "PNG", where=where)
    with decoding(where=where):
        check_png(data)
        image.load()
        # Kept, it would make Pillow warn.
        transparency = image.info.pop("transparency", None)
        if channels == 1:
            return _grey(image)[..., np.newaxis]
        if channels == 3:  # noqa: PLR2004 - RGB
            return _rgb(image)
        return np.dstack([_rgb(image), _alpha(image, transparency, depth=data[_BIT_DEPTH_AT])])


def _rgb(image: "Image") -> Pixels:
    if image.mode.startswith("I"):
        return np.repeat(_grey(image)[..., np.newaxis], 3, axis=2)
    return np.asarray(in_mode(image, "RGB"))


def _grey(image: "Image") -> Pixels:
    if image.mode.startswith("I"):
        return (np.asarray(image) >> 8).astype(np.uint8)
    if image.mode in _GREY_MODES:
        return np.asarray(in_mode(image, "L"))
    rgb = _rgb(image)
    gamma = _SRGB_GAMMA if "srgb" in image.info else image.info.get("gamma") or 1.0
    has_gamma = not _NO_GAMMA[0] <= gamma <= _NO_GAMMA[1]
    # With a gamma, libpng mixes amounts of light, and rounds.
    light = _power(1 / gamma if has_gamma else 1.0).astype(np.uint32)
    mixed = np.full(rgb.shape[:2], 1 << 14 if has_gamma else 0, np.uint32)
    for channel, weight in enumerate(_GREY_WEIGHTS):
        mixed += (light * np.uint32(weight))[rgb[..., channel]]
    mixed >>= 15
    grey = _power(gamma if has_gamma else 1.0)[mixed]
    is_grey = (rgb[..., 0] == rgb[..., 1]) & (rgb[..., 0] == rgb[..., 2])
    return np.where(is_grey, rgb[..., 0], grey)


def _power(exponent: float) -> NDArray[np.uint8]:
    """For each of 256 values itself to the power of `exponent`, with 255 as 1."""
    return np.floor(255 * (np.arange(256) / 255) ** exponent + 0.5).astype(np.uint8)


def _alpha(image: "Image", transparency: object, *, depth: int) -> Pixels:
    """The alpha channel; `transparency` is what Pillow makes of the file's `tRNS`."""
    values = np.asarray(image)
    if image.mode in {"LA", "RGBA"}:
        return values[..., -1]
    size = (image.height, image.width)
    most = 2**depth - 1
    if image.mode == "P" and transparency is not None:
        alphas = np.full(256, 255, np.uint8)
        if isinstance(transparency, bytes):
            alphas[: len(transparency)] = np.frombuffer(transparency, np.uint8)
        elif isinstance(transparency, int):
            alphas[transparency] = 0
        return np.take(alphas, values)
    if isinstance(transparency, tuple):
        # Of 16-bit colours only the upper bits are there to be compared.
        color = [part >> 8 if depth == _DEEP else part & most for part in transparency]
        return np.where((values == color).all(axis=2), 0, 255).astype(np.uint8)
    if isinstance(transparency, int):
        grey = (transparency & most) * (1 if depth >= 8 else 255 // most)  # noqa: PLR2004 - bits
        seen = values if image.mode.startswith("I") else np.asarray(image.convert("L"))
        return np.where(seen == grey, 0, 255).astype(np.uint8)
    # With fewer than 8 bits, TensorFlow's opaque is the most that they hold.
    return np.full(size, min(most, 255), np.uint8)
