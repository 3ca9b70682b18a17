"""Items that are pictures, as small PNG files and as figures show them."""

import io

import numpy as np
from numpy.typing import NDArray

from fornada.errors import MissingExtraError
from fornada.formats.items import Array

#: Pixels on the longer side; a PNG of so many takes at most some 28 KB.
THUMBNAIL_SIDE = 96
_GREY, _COLOUR = 3, 4
#: Pixels of the first items; darker on average, they are drawn light on black.
_DARK, _SAMPLE = 96, 1000


def are_images(items: Array) -> bool:
    """Whether items are uint8 [items, height, width], grey or with 1 or 3 channels."""
    if items.dtype != np.uint8 or 0 in items.shape:
        return False
    return items.ndim == _GREY or (items.ndim == _COLOUR and items.shape[3] in {1, 3})


def dark_on_light(items: Array, chosen: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Some items as they are shown: uint8 [chosen, height, width] or [chosen, height, width, 3].

    Where grey items are drawn light on black, as MNIST's are, they become dark on white.

    Args:
        items: As `are_images` has it.
        chosen: Positions of those to show.
    """
    pictures = items[chosen].astype(np.uint8, copy=False)
    if pictures.ndim == _COLOUR and pictures.shape[3] == 1:
        pictures = pictures[..., 0]
    if pictures.ndim == _GREY and items[:_SAMPLE].astype(np.uint8, copy=False).mean() < _DARK:
        pictures = np.uint8(255) - pictures
    return pictures


def thumbnail(picture: NDArray[np.uint8]) -> bytes:
    """One picture as PNG, made smaller if it is larger than `THUMBNAIL_SIDE`.

    Args:
        picture: uint8 [height, width] or [height, width, 3].

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    try:
        from PIL import Image  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise MissingExtraError("pictures need Pillow; run: pip install 'fornada[train]'") from exc
    image = Image.fromarray(picture)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
