"""GIF files to the pixels that TensorFlow decodes: the first frame, black where transparent."""

import struct

import numpy as np

from fornada.formats.images.opening import Pixels, check_size, decoding, open_image

_FRAME = 0x2C
_EXTENSION = 0x21
#: Frames, and the parts of at most 255 bytes that they are stored in.
_MOST_PARTS = 1_000_000


def gif_pixels(data: bytes, *, where: str) -> Pixels:
    """The pixels uint8 [height, width, 3] of the first frame.

    They have the size of the largest frame, whatever size the file declares.

    Raises:
        InputError: The file is broken, or too large.
        MissingExtraError: Pillow is not installed.
    """
    image = open_image(data, "GIF", where=where)
    width, height = largest_frame(data)
    if not width or not height:
        width, height = image.size
    check_size(width, height, where=where)
    with decoding(where=where):
        left, top, right, bottom = image.tile[0].extents or (0, 0, *image.size)
        image.load()
        transparent = image.info.pop("transparency", None)
        frame = np.array(image.convert("RGB"))[top:bottom, left:right]
        if transparent is not None:
            frame[np.asarray(image)[top:bottom, left:right] == transparent] = 0
    pixels = np.zeros((height, width, 3), np.uint8)
    inside = pixels[top : top + frame.shape[0], left : left + frame.shape[1]]
    inside[:] = frame[: inside.shape[0], : inside.shape[1]]
    return pixels


def largest_frame(data: bytes) -> tuple[int, int]:
    """The most (width, height) of any frame, whatever the file declares; 0 without frames."""
    sizes = [(0, 0), *_frame_sizes(data)]
    width, height = (max(sides) for sides in zip(*sizes, strict=True))
    return width, height


def _frame_sizes(data: bytes) -> list[tuple[int, int]]:
    """(width, height) of each frame, until the file ends or makes no sense."""
    sizes = []
    at = 13 + _palette_bytes(data[10])
    in_parts = False
    for _ in range(_MOST_PARTS):
        if at + 10 >= len(data):
            break
        if in_parts:
            in_parts = data[at] > 0
            at += data[at] + 1
        elif data[at] == _FRAME:
            sizes.append(struct.unpack_from("<HH", data, at + 5))
            at += 11 + _palette_bytes(data[at + 9])
            in_parts = True
        elif data[at] == _EXTENSION:
            at += 2
            in_parts = True
        else:
            break
    return sizes


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
