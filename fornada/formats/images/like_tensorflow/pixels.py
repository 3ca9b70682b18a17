"""Decode images to the pixels that `tf.io.decode_image` gives, without TensorFlow."""

from fornada.formats.images.kinds import ImageKind
from fornada.formats.images.like_tensorflow.bmp import bmp_pixels
from fornada.formats.images.like_tensorflow.gif import gif_pixels
from fornada.formats.images.like_tensorflow.jpeg import jpeg_pixels
from fornada.formats.images.like_tensorflow.png import png_pixels
from fornada.formats.images.opening import Pixels
from fornada.formats.images.orientation import orientation_of, turned
from fornada.formats.images.pillow_pixels import pillow_pixels

_RGB = 3


def tensorflow_pixels(
    data: bytes, kind: ImageKind, *, channels: int, exif: bool, where: str
) -> Pixels:
    """The pixels uint8 [height, width, channels] that `tf.io.decode_image` gives.

    What TensorFlow cannot decode is decoded by Pillow.

    Raises:
        InputError: The file is broken or too large.
        MissingExtraError: What decodes it is not installed.
    """
    pixels = _decoded(data, kind, channels, where=where)
    if pixels is None:
        return pillow_pixels(data, kind, channels=channels, exif=exif, where=where)
    if not exif:
        return pixels
    return turned(pixels, orientation_of(data, kind, where=where))


def _decoded(data: bytes, kind: ImageKind, channels: int, *, where: str) -> Pixels | None:
    if kind == "JPEG":
        return jpeg_pixels(data, channels, where=where)
    if kind == "PNG":
        return png_pixels(data, channels, where=where)
    if kind == "BMP":
        return bmp_pixels(data, channels, where=where)
    if kind == "GIF" and channels == _RGB:
        return gif_pixels(data, where=where)
    return None
