"""An image file to an item of a model, as the model's manifest says."""

from dataclasses import dataclass

import numpy as np

from fornada.errors import InputError
from fornada.formats.images.framing import Size, fitted
from fornada.formats.images.like_tensorflow.pixels import tensorflow_pixels
from fornada.formats.images.opening import sniff
from fornada.formats.images.pillow_pixels import load_img, pillow_pixels
from fornada.formats.items import Array
from fornada.tensors import ImagePreprocessing, InputTensor, text_of

_CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
_COLORS = {channels: color for color, channels in _CHANNELS.items()}


@dataclass(frozen=True, slots=True)
class ImageItem:
    """What a model takes of an image."""

    #: Height and width; `None` takes the image's own.
    size: Size
    channels: int
    image: ImagePreprocessing


def check_image_input(taken: InputTensor, *, where: str) -> ImageItem:
    """What the model takes of the image `where`.

    Raises:
        InputError: Its items are not images, or have other channels than its manifest says.
    """
    channels = 1
    match taken.shape:
        case [height, width] if 0 not in (height, width):
            pass
        case [height, width, (1 | 3 | 4) as channels] if 0 not in (height, width):
            pass
        case _:
            raise InputError(
                f"{where} is an image, and the model takes items of shape {text_of(taken.shape)}, "
                "which are neither grey nor RGB images; give arrays (.npy)"
            )
    if taken.dtype in {"bool", "string"}:
        raise InputError(
            f"{where} is an image, and the model takes items of dtype {taken.dtype}; give arrays"
        )
    image = taken.image or ImagePreprocessing.model_validate({"color": _COLORS[channels]})
    if _CHANNELS[image.color] != channels:
        raise InputError(
            f"{where} is to become a {image.color} image, and the model takes items of shape "
            f"{text_of(taken.shape)}, which are {_COLORS[channels]}; set the model's image color"
        )
    return ImageItem((height, width), channels, image)


def decode_item(data: bytes, *, taken: InputTensor, where: str) -> Array:
    """The item that an image file is: of `taken.numpy_dtype`, fitting `taken.shape`.

    The size that the file declares is checked before memory is taken for its pixels. Of an
    animated image the first frame is taken. Values are those of the model's loader
    (`taken.image.like`), 0 to 255; for an integer dtype they are clipped to its range and
    truncated.

    Args:
        data: The file.
        taken: What the model takes, and how images become that. Without `taken.image` the image
            is stretched to the model's size, as by `image_dataset_from_directory`.
        where: What the bytes were read from, for error messages.

    Raises:
        InputError: The model takes no images; or the file is empty, broken, truncated, too large,
            of no known kind, or of another size and not to be resized.
        MissingExtraError: What decodes it is not installed.
    """
    item = check_image_input(taken, where=where)
    kind = sniff(data, where=where)
    image, size, channels = item.image, item.size, item.channels
    if image.like == "load_img":
        pixels = load_img(data, kind, size=size, channels=channels, image=image, where=where)
    else:
        decode = pillow_pixels if image.like == "exact" else tensorflow_pixels
        decoded = decode(data, kind, channels=channels, exif=image.exif, where=where)
        pixels = fitted(decoded, size=size, image=image, where=where)
    if len(taken.shape) == 2:  # noqa: PLR2004 - without channels
        pixels = pixels[..., 0]
    return _cast(pixels, np.dtype(taken.numpy_dtype))


def _cast(pixels: Array, dtype: np.dtype) -> Array:
    """The pixels in `dtype`; for integers clipped to their range and truncated, as Keras casts."""
    if dtype.kind in "iu" and not np.can_cast(pixels.dtype, dtype):
        limits = np.iinfo(dtype)
        pixels = np.clip(pixels, limits.min, limits.max)
    return np.ascontiguousarray(pixels, dtype)
