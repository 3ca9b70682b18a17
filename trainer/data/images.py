"""Items that are images: whether they are, and how figures and pages show them."""

import io

import numpy as np
from numpy.typing import NDArray

from fornada.errors import MissingExtraError
from fornada.formats.items import Array

#: Pixels on the longer side; its PNG takes at most 28 KB.
THUMBNAIL_SIDE = 96
_GREY, _COLOUR = 3, 4
#: Mean grey value, over this many items, below which they are light on black.
_DARK, _SAMPLE = 96, 1000


def are_images(items: Array) -> bool:
    """Whether items are uint8 [items, height, width], grey or with 1 or 3 channels."""
    if items.dtype != np.uint8 or 0 in items.shape:
        return False
    return items.ndim == _GREY or (items.ndim == _COLOUR and items.shape[3] in {1, 3})


def as_pixels(items: Array) -> Array:
    """Items that are images, as `are_images` takes them; others as they are.

    Floats are stretched from their own range to 0 to 255, or from 0 to 1, -1 to 1 or 0 to 255 if
    these hold them.

    Args:
        items: Any dtype [items, height, width], or with 1 or 3 channels.
    """
    has_axes = items.ndim == _GREY or (items.ndim == _COLOUR and items.shape[3] in {1, 3})
    if items.dtype.kind != "f" or not has_axes or items.size == 0:
        return items
    lowest, highest = float(np.nanmin(items)), float(np.nanmax(items))
    for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
        if low <= lowest and highest <= high:
            lowest, highest = low, high
            break
    scale = 255 / max(highest - lowest, 1e-9)
    pixels: Array = (
        np.nan_to_num((items.astype(np.float32) - lowest) * scale).round().astype(np.uint8)
    )
    return pixels


def dark_on_light(items: Array, chosen: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Chosen items to show: uint8 [chosen, height, width] or [chosen, height, width, 3].

    Grey items that are light on black, as MNIST's are, are inverted.

    Args:
        items: As in `are_images`.
        chosen: Positions of the items to show.
    """
    images = items[chosen].astype(np.uint8, copy=False)
    if images.ndim == _COLOUR and images.shape[3] == 1:
        images = images[..., 0]
    if images.ndim == _GREY and items[:_SAMPLE].astype(np.uint8, copy=False).mean() < _DARK:
        images = np.uint8(255) - images
    return images


def thumbnail(image: NDArray[np.uint8]) -> bytes:
    """One image as PNG, shrunk to `THUMBNAIL_SIDE` if it is larger.

    Args:
        image: uint8 [height, width] or [height, width, 3].

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    try:
        from PIL import Image  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise MissingExtraError("images need Pillow; run: pip install 'fornada[train]'") from exc
    small = Image.fromarray(image)
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
