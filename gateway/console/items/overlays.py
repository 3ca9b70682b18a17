"""Draw masks and boxes on the picture of their item."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fornada.formats.items import Array
from gateway.console.items.outputs import Drawn
from gateway.console.items.pictures import of_array

#: Distinct on photographs, and to people who see few colours.
_COLOURS = np.array(
    [
        *((0, 114, 255), (255, 122, 0), (0, 168, 107), (214, 48, 103)),
        *((140, 86, 230), (120, 190, 32), (0, 190, 200), (240, 190, 0)),
    ],
    np.float32,
)
_MASK = _COLOURS[3]
_OPAQUE = 0.45
_MARKED = 0.5
#: Smaller pictures are enlarged, so that lines are fine on them.
_LEAST_SIDE = 384


def drawn(picture: Image.Image, row: Array, how: Drawn, *, size: tuple[int, int]) -> Image.Image:
    """The picture with an output drawn on it.

    Args:
        picture: The item, in any size.
        row: What the output gave for it.
        how: How to draw it.
        size: Height and width of the item as the model took it.
    """
    if how == "image":
        return of_array(row, longest=max(picture.size))
    picture = _enlarged(picture)
    match how:
        case "mask":
            strength = _strength(row.reshape(row.shape[:2]))
            return _blended(picture, np.broadcast_to(_MASK, (*strength.shape, 3)), strength)
        case "classes":
            return _with_classes(picture, row)
        case "boxes":
            return _with_boxes(picture, row.reshape(-1, 4).astype(np.float64), size)
    return picture


def _with_classes(picture: Image.Image, row: Array) -> Image.Image:
    has_channels = row.ndim == 3 and row.shape[2] > 1  # noqa: PLR2004 - with channels
    numbers = np.asarray(
        row.argmax(axis=2) if has_channels else row.reshape(row.shape[:2]), np.int64
    )
    # Class 0 is what lies behind.
    return _blended(
        picture, _COLOURS[(numbers - 1) % len(_COLOURS)], (numbers > 0).astype(np.float32)
    )


def _strength(mask: Array) -> NDArray[np.float32]:
    """How strongly each pixel is marked, 0 to 1."""
    numbers = np.nan_to_num(mask.astype(np.float32))
    if mask.dtype.kind == "b" or (numbers.min() >= 0 and numbers.max() <= 1):
        return numbers
    if mask.dtype.kind in "iu":
        return (numbers > 0).astype(np.float32)
    # Logits.
    return (1 / (1 + np.exp(-np.clip(numbers, -30, 30)))).astype(np.float32)


def _blended(
    picture: Image.Image, colours: NDArray[np.float32], strength: NDArray[np.float32]
) -> Image.Image:
    alpha = (np.where(_edges(colours, strength), 1, strength * _OPAQUE) * 255).astype(np.uint8)
    layer = Image.fromarray(np.dstack([colours.astype(np.uint8), alpha]))
    grown = layer.resize(picture.size, Image.Resampling.NEAREST)
    return Image.alpha_composite(picture.convert("RGBA"), grown).convert("RGB")


def _edges(colours: NDArray[np.float32], strength: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The outermost pixels of what is marked, which are drawn as lines."""
    marked = strength > _MARKED
    here = np.where(marked, colours.sum(axis=2), -1)
    around = np.pad(here, 1, mode="edge")
    same = [
        around[1 + down : 1 + down + here.shape[0], 1 + across : 1 + across + here.shape[1]] == here
        for down, across in ((-1, 0), (1, 0), (0, -1), (0, 1))
    ]
    return np.asarray(marked & ~np.logical_and.reduce(same), np.bool_)


def _with_boxes(
    picture: Image.Image, boxes: NDArray[np.float64], size: tuple[int, int]
) -> Image.Image:
    height, width = size
    boxes = boxes[np.isfinite(boxes).all(axis=1)]
    if boxes.size and boxes.max() <= 1.5:  # noqa: PLR2004 - shares of the sides, give or take
        boxes = boxes * np.array([width, height, width, height])
    if not are_corners(boxes):
        boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    across, down = picture.width / width, picture.height / height
    drawing = ImageDraw.Draw(picture)
    thick = max(2, round(max(picture.size) / 160))
    # Drawing takes time by the length of a line, also of what lies outside.
    most = np.array([picture.width + thick, picture.height + thick] * 2)
    scaled = np.clip(boxes * np.array([across, down] * 2), -thick, most)
    for number, corners in enumerate(scaled.tolist()):
        if corners[2] > corners[0] and corners[3] > corners[1]:
            colour = tuple(map(int, _COLOURS[number % len(_COLOURS)].tolist()))
            drawing.rectangle(corners, outline=colour, width=thick)
    return picture


def are_corners(boxes: NDArray[np.float64]) -> bool:
    """Whether boxes are x1, y1, x2, y2; else they are taken for x, y, width, height."""
    return bool((boxes[:, 2:] >= boxes[:, :2]).all())


def _enlarged(picture: Image.Image) -> Image.Image:
    factor = -(-_LEAST_SIDE // max(picture.size))
    if factor <= 1:
        return picture.copy()
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.NEAREST)
