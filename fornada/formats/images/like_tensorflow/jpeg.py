"""JPEG files to the pixels that TensorFlow decodes: by libjpeg-turbo, with its fast DCT."""

import numpy as np

from fornada.formats.images.decoders import decoder_of
from fornada.formats.images.jpeg_segments import segments
from fornada.formats.images.opening import Pixels, broken, check_scans, check_size

#: How libjpeg's warnings begin, which TensorFlow ignores.
_WARNINGS = (
    "Corrupt JPEG data",
    "Inconsistent progression",
    "Invalid SOS parameters",
    "Unknown Adobe color",
    "Warning: unknown JFIF",
)
_TRUNCATED = "Premature end of JPEG file"
_APP14, _END = 0xEE, b"\xff\xd9"


def jpeg_pixels(data: bytes, channels: int, *, where: str) -> Pixels | None:
    """The pixels uint8 [height, width, channels]; `None` where TensorFlow cannot decode them.

    TensorFlow makes no RGBA of JPEG, which is opaque here, and no grey of CMYK.

    Raises:
        InputError: The file is truncated, or too large.
        MissingExtraError: What decodes it is not installed.
    """
    decoder_of("JPEG", where=where)
    import simplejpeg  # noqa: PLC0415 - optional package

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
        if str(exc) == _TRUNCATED:
            raise broken("the file is truncated", where=where) from exc
        return None
    if is_ink:
        pixels = _rgb_of_inks(pixels, inverted=_is_from_adobe(data))
    if channels == 4:  # noqa: PLR2004 - RGBA
        opaque = np.full((height, width, 1), 255, np.uint8)
        pixels = np.concatenate([pixels, opaque], axis=2)
    return pixels


def _decoded(data: bytes, colorspace: str) -> Pixels:
    """The pixels; those that TensorFlow gives, too, where libjpeg warns.

    Raises:
        ValueError: The file is truncated or broken.
    """
    from simplejpeg import decode_jpeg  # noqa: PLC0415 - optional package

    pixels: Pixels
    try:
        pixels = decode_jpeg(data, colorspace, fastdct=True)
    except ValueError as exc:
        if not str(exc).startswith(_WARNINGS):
            raise
        *_, (_, scan) = segments(data)
        if data.find(_END, scan) < 0:
            raise ValueError(_TRUNCATED) from exc
        pixels = decode_jpeg(data, colorspace, fastdct=True, strict=False)
        # After a warning, simplejpeg is silent about errors too: it leaves the rest of the memory
        # as it was.
        inverted = ~pixels
        decode_jpeg(data, colorspace, fastdct=True, strict=False, buffer=inverted)
        if not np.array_equal(pixels, inverted):
            raise
    return pixels


def _rgb_of_inks(inks: Pixels, *, inverted: bool) -> Pixels:
    """RGB of CMYK; Adobe's programs store all four inverted."""
    light = inks if inverted else 255 - inks
    rgb = light[..., :3].astype(np.uint16) * light[..., 3:] // np.uint16(255)
    return rgb.astype(np.uint8)


def _is_from_adobe(data: bytes) -> bool:
    return any(
        marker == _APP14 and data[at + 4 : at + 9] == b"Adobe" for marker, at in segments(data)
    )
