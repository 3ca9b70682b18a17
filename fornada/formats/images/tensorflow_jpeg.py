"""JPEG files to the pixels that TensorFlow decodes: by libjpeg-turbo, with its fast DCT."""

import numpy as np

from fornada.errors import MissingExtraError
from fornada.formats.images.opening import Pixels, broken, check_scans, check_size

#: How the messages begin of what libjpeg reads over, TensorFlow too.
_READ_OVER = (
    "Corrupt JPEG data",
    "Inconsistent progression",
    "Invalid SOS parameters",
    "Unknown Adobe color",
    "Warning: unknown JFIF",
)
#: Before the pixels.
_MOST_SEGMENTS = 10_000


def jpeg_pixels(data: bytes, channels: int, *, where: str) -> Pixels | None:
    """The pixels uint8 [height, width, channels]; `None` where TensorFlow cannot decode them.

    TensorFlow knows no alpha in JPEG, which is opaque here, and no grey of CMYK.

    Raises:
        InputError: The file is truncated, or too large.
        MissingExtraError: simplejpeg is not installed.
    """
    try:
        import simplejpeg  # noqa: PLC0415 - optional package
    except ImportError as exc:
        raise MissingExtraError(
            f"{where} is a JPEG image, and simplejpeg, which decodes it as TensorFlow does, is not "
            "installed; pip install 'fornada[images]'"
        ) from exc
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (KeyError, ValueError):
        # KeyError: a number of channels, or of samples, that it has no name for.
        return None
    check_size(width, height, where=where)
    check_scans(data, width, height, where=where)
    is_ink = space in {"CMYK", "YCCK"}
    if is_ink and channels == 1:
        return None
    wanted = "CMYK" if is_ink else "GRAY" if channels == 1 else "RGB"
    try:
        pixels = _decoded(data, wanted)
    except ValueError as exc:
        if "Premature end" in str(exc):
            raise broken("the file is truncated", where=where) from exc
        return None
    if is_ink:
        pixels = _printed(pixels, inverted=_is_from_adobe(data))
    return pixels if channels < 4 else with_alpha(pixels)  # noqa: PLR2004 - RGBA


def with_alpha(pixels: Pixels, alpha: int = 255) -> Pixels:
    """RGB pixels as RGBA."""
    opaque = np.full((*pixels.shape[:2], 1), alpha, np.uint8)
    return np.concatenate([pixels, opaque], axis=2)


def _decoded(data: bytes, colorspace: str) -> Pixels:
    from simplejpeg import decode_jpeg  # noqa: PLC0415 - optional package

    pixels: Pixels
    try:
        pixels = decode_jpeg(data, colorspace, fastdct=True)
    except ValueError as exc:
        # The message is of the last thing that happened. After an error, as opposed to what is
        # read over, the rest of the pixels would be whatever the memory held.
        if not str(exc).startswith(_READ_OVER):
            raise
        pixels = decode_jpeg(data, colorspace, fastdct=True, strict=False)
    return pixels


def _printed(inks: Pixels, *, inverted: bool) -> Pixels:
    """RGB of CMYK; Adobe's programs store all four inverted."""
    light = inks if inverted else 255 - inks
    paper = light[..., :3].astype(np.uint16) * light[..., 3:] // np.uint16(255)
    return paper.astype(np.uint8)


def _is_from_adobe(data: bytes) -> bool:
    """Whether one of the segments before the pixels is Adobe's."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        marker = data[at + 1 : at + 2]
        if data[at : at + 1] != b"\xff" or marker == b"\xda":
            break
        if marker == b"\xee" and data[at + 4 : at + 9] == b"Adobe":
            return True
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False
