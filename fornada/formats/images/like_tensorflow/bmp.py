"""BMP files to the pixels that TensorFlow decodes: raw bytes, whatever palette or masks say."""

import struct

import numpy as np

from fornada.formats.images.opening import Pixels, check_size

_HEADER = struct.Struct("<10xi4xii2xh")
_OPAQUE = 255


def bmp_pixels(data: bytes, channels: int, *, where: str) -> Pixels | None:
    """The pixels uint8 [height, width, channels]; `None` where TensorFlow cannot decode them.

    That is grey wanted, fewer than 8 bits, 16 bits, and compressed pixels.

    Raises:
        InputError: The image is too large.
    """
    if channels == 1 or len(data) < _HEADER.size:
        return None
    offset, width, signed_height, bits = _HEADER.unpack_from(data)
    height = abs(signed_height)
    row_bytes = (bits * width + 31) // 32 * 4
    if bits not in {8, 24, 32} or offset < 0 or len(data) != offset + row_bytes * height:
        return None
    check_size(width, height, where=where)
    rows = np.frombuffer(data, np.uint8, offset=offset).reshape(height, row_bytes)
    stored = rows[:, : width * bits // 8].reshape(height, width, bits // 8)
    if signed_height > 0:
        stored = stored[::-1]
    pixels = np.full((height, width, channels), _OPAQUE, np.uint8)
    # Blue comes first; grey stands for all three.
    pixels[..., :3] = stored[..., 2::-1] if bits > 8 else stored  # noqa: PLR2004 - bits of grey
    if channels == stored.shape[2] == 4:  # noqa: PLR2004 - RGBA
        pixels[..., 3] = stored[..., 3]
    return pixels
