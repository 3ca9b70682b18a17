"""Fit an image into the size that a model takes: stretch, crop, pad, or neither."""

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError
from fornada.formats.images.resizing import Pixels, resized
from fornada.tensors import ImagePreprocessing

Size = tuple[int | None, int | None]
_F32 = np.float32


def fitted(
    pixels: Pixels, *, size: Size, image: ImagePreprocessing, where: str
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """The pixels uint8 [height, width, channels] in `size`, as Keras's data sets fit them.

    Args:
        pixels: The decoded image.
        size: Height and width that the model takes; `None` takes the image's own.
        image: How to resize.
        where: What was decoded, for error messages.

    Raises:
        InputError: The image has another size, and is not to be resized.
    """
    height, width = (want or have for want, have in zip(size, pixels.shape, strict=False))
    if image.resize == "none":
        check_unresized((pixels.shape[1], pixels.shape[0]), (width, height), where=where)
        return pixels
    if image.resize == "crop":
        pixels = _cropped(pixels, height, width)
    if image.resize == "pad":
        return _padded(pixels, height, width, image)
    return resized(pixels, height=height, width=width, image=image)


def check_unresized(have: tuple[int, int], want: tuple[int, int], *, where: str) -> None:
    """Check the size (width, height) of an image that is not to be resized.

    Raises:
        InputError: It is another.
    """
    if have != want:
        raise InputError(
            f"{where} is {have[0]}x{have[1]} pixels, and the model takes {want[0]}x{want[1]} "
            "(width x height); resize before you submit, or submit with --resize"
        )


def _cropped(pixels: Pixels, height: int, width: int) -> Pixels:
    """The middle of an image, with the aspect ratio of `height` to `width`; as `smart_resize`."""
    have_height, have_width = pixels.shape[:2]
    crop_height = max(min(have_height, int(_F32(have_width * height) / _F32(width))), 1)
    crop_width = max(min(have_width, int(_F32(have_height * width) / _F32(height))), 1)
    top, left = (have_height - crop_height) // 2, (have_width - crop_width) // 2
    return pixels[top : top + crop_height, left : left + crop_width]


def _padded(
    pixels: Pixels, height: int, width: int, image: ImagePreprocessing
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """The whole image between black bars; as `tf.image.resize_with_pad`."""
    have_height, have_width = _F32(pixels.shape[0]), _F32(pixels.shape[1])
    ratio = max(have_width / _F32(width), have_height / _F32(height))
    exact_height, exact_width = have_height / ratio, have_width / ratio
    inner = resized(
        pixels, height=max(int(exact_height), 1), width=max(int(exact_width), 1), image=image
    )
    top = max(int((_F32(height) - exact_height) / 2), 0)
    left = max(int((_F32(width) - exact_width) / 2), 0)
    padded = np.zeros((height, width, pixels.shape[2]), inner.dtype)
    padded[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return padded
