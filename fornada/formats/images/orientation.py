"""EXIF orientation: which way up a photograph was taken."""

from typing import TYPE_CHECKING

from fornada.errors import InputError, MissingExtraError
from fornada.formats.images.jpeg_segments import stated_orientation
from fornada.formats.images.kinds import ImageKind, kind_of
from fornada.formats.images.opening import Pixels, open_image

if TYPE_CHECKING:
    from PIL.Image import Image

_EXIF_ORIENTATION = 0x0112
#: EXIF orientations that exchange width and height.
_ON_ITS_SIDE = (5, 6, 7, 8)


def has_ignored_orientation(data: bytes) -> bool:
    """Whether an image file has an EXIF orientation that `exif: false` leaves as it is.

    TIFF and HEIC images are turned by whatever reads them.
    """
    kind = kind_of(data)
    if kind is None or kind in {"TIFF", "HEIC", "BMP", "GIF"}:
        return False
    try:
        return orientation_of(data, kind, where="image") != 1
    except (InputError, MissingExtraError):
        return False


def orientation_of(data: bytes, kind: ImageKind, *, where: str) -> int:
    """The EXIF orientation of an image file, 1 to 8.

    Raises:
        InputError, MissingExtraError: As `open_image`.
    """
    # Of most photographs it is plain to see, in a twentieth of the time.
    stated = stated_orientation(data) if kind == "JPEG" else None
    return orientation(open_image(data, kind, where=where)) if stated is None else stated


def orientation(image: "Image") -> int:
    """The EXIF orientation, 1 to 8; damaged EXIF data are common, and mean upright (1)."""
    from PIL.Image import Image as AnyImage  # noqa: PLC0415 - optional package

    try:
        # Not the override for PNG, which decodes the pixels to look for EXIF data behind them.
        value = int(AnyImage.getexif(image).get(_EXIF_ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - readers of EXIF raise anything
        return 1
    return value if 1 <= value <= 8 else 1  # noqa: PLR2004 - see above


def upright_size(image: "Image") -> tuple[int, int]:
    """(width, height) of an image once it is turned upright."""
    return image.size[::-1] if orientation(image) in _ON_ITS_SIDE else image.size


def turn_upright(image: "Image") -> None:
    """Turn an image of Pillow in place."""
    from PIL.ImageOps import exif_transpose  # noqa: PLC0415 - optional package

    if orientation(image) == 1:
        return
    # The pixels no longer need it, and Pillow would fail to rewrite damaged EXIF data.
    image.info.clear()
    exif_transpose(image, in_place=True)


def turned(pixels: Pixels, by: int) -> Pixels:
    """The pixels [height, width, channels] of a photograph of EXIF orientation `by`, upright.

    A view: most of a photograph is not looked at when it is resized.
    """
    if by in _ON_ITS_SIDE:
        pixels = pixels.transpose(1, 0, 2)
    across = by in {2, 3, 6, 7}
    down = by in {3, 4, 7, 8}
    return pixels[:: -1 if down else 1, :: -1 if across else 1]
