"""Fit an image into the size that a model takes: stretch, crop, pad, or neither."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError
from fornada.formats.images.opening import Pixels
from fornada.formats.images.resizing import resized
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
        check_unresized((pixels.shape[1], pixels.shape[0]), (size[1], size[0]), where=where)
        return pixels
    if image.resize == "crop":
        pixels = _cropped(pixels, height, width)
    if image.resize == "pad":
        return _padded(pixels, height, width, image)
    return resized(pixels, height=height, width=width, image=image)


def check_unresized(have: tuple[int, int], want: Size, *, where: str) -> None:
    """Check the size (width, height) of an image that is not to be resized.

    Raises:
        InputError: It is another.
    """
    if all(side in (None, of_image) for side, of_image in zip(want, have, strict=True)):
        return
    match want:
        case None, height:
            takes, other = f"a height of {height}", ""
        case width, None:
            takes, other = f"a width of {width}", ""
        case width, height:
            takes, other = f"{width}x{height} (width x height)", ", or submit with resize"
    raise InputError(
        f"{where} is {have[0]}x{have[1]} pixels, and the model takes {takes}; resize before you "
        f"submit{other}"
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
    """The whole image between black bars."""
    inner = inner_frame(pixels.shape[0], pixels.shape[1], height, width)
    content = resized(pixels, height=inner.height, width=inner.width, image=image)
    padded = np.zeros((height, width, pixels.shape[2]), content.dtype)
    padded[inner.top : inner.top + inner.height, inner.left : inner.left + inner.width] = content
    return padded


class Frame(NamedTuple):
    """Where an image stands in a larger one."""

    top: int
    left: int
    height: int
    width: int


def inner_frame(have_height: int, have_width: int, height: int, width: int) -> Frame:
    """Where the whole image stands between bars, as `tf.image.resize_with_pad` has it."""
    exact = _F32(have_height), _F32(have_width)
    ratio = max(exact[0] / _F32(height), exact[1] / _F32(width))
    inner_height, inner_width = exact[0] / ratio, exact[1] / ratio
    return Frame(
        top=max(int((_F32(height) - inner_height) / 2), 0),
        left=max(int((_F32(width) - inner_width) / 2), 0),
        height=max(int(inner_height), 1),
        width=max(int(inner_width), 1),
    )
