"""Decode images to the pixels that `tf.io.decode_image` gives, without TensorFlow."""

import numpy as np
from numpy.typing import NDArray

from fornada.formats.images.kinds import ImageKind
from fornada.formats.images.pillow_pixels import pillow_pixels


def tensorflow_pixels(
    data: bytes, kind: ImageKind, *, channels: int, exif: bool, where: str
) -> NDArray[np.uint8]:
    """The pixels uint8 [height, width, channels] that `tf.io.decode_image` gives.

    Raises:
        InputError: The file is broken or too large.
        MissingExtraError: What decodes it is not installed.
    """
    return pillow_pixels(data, kind, channels=channels, exif=exif, where=where)
