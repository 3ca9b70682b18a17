"""What decodes each kind of image file, and which of it is not installed here."""

import importlib
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, get_args

from fornada.errors import MissingExtraError
from fornada.formats.images.kinds import ImageKind

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

#: Module and class of each kind.
_DECODERS: dict[ImageKind, tuple[str, str]] = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIC": ("pillow_heif.as_plugin", "HeifImageFile"),
}


def decoder_of(kind: ImageKind, *, where: str) -> "Callable[[BytesIO], ImageFile]":
    """Pillow's reader of a kind of file.

    Raises:
        MissingExtraError: It is not installed.
    """
    missing = _missing(kind)
    if missing is not None:
        raise MissingExtraError(f"{where} is a {kind} image, and {missing}")
    module, name = _DECODERS[kind]
    decoder: Callable[[BytesIO], ImageFile] = getattr(importlib.import_module(module), name)
    return decoder


def missing_decoders() -> dict[ImageKind, str]:
    """The kinds of file that cannot be decoded here, each with what to install."""
    found = {kind: _missing(kind) for kind in get_args(ImageKind)}
    return {kind: why for kind, why in found.items() if why is not None}


def _missing(kind: ImageKind) -> str | None:
    """What to install for a kind of file; `None` if nothing."""
    try:
        module = importlib.import_module(_DECODERS[kind][0])
        if kind == "JPEG":
            importlib.import_module("simplejpeg")
    except ImportError:
        extra = "heic" if kind == "HEIC" else "images"
        return f"what decodes it is not installed; pip install 'fornada[{extra}]'"
    # Pillow may be built without them.
    if not getattr(module, "SUPPORTED", True):
        return f"the Pillow installed is built without {kind}; pip install --force-reinstall pillow"
    return None
