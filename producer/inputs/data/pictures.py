"""Images in memory, of Pillow or encoded, as image files."""

import io
from collections.abc import Mapping
from typing import Any

from fornada.errors import InputError
from fornada.formats.images import HEAD_BYTES, is_image
from producer.inputs.data.conversion import instance_of
from producer.inputs.interface import ImageFile

#: Modes that PNG keeps as they are; TIFF keeps the others.
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
#: PNG's quickest compression.
_LEVEL = 1


def is_image_file(value: object) -> bool:
    """Whether `value` is an image of Pillow's, an image file's bytes, or an `ImageFile`.

    Data sets of Hugging Face and their Parquet files have the bytes in a mapping.
    """
    if isinstance(value, Mapping):
        return set(value) == {"bytes", "path"} and isinstance(value["bytes"], bytes)
    if isinstance(value, bytes):
        return is_image(value[:HEAD_BYTES])
    return isinstance(value, ImageFile) or instance_of(value, "PIL.Image", "Image")


def image_file(value: Any, *, where: str) -> ImageFile:
    """The image as a file without loss, with the orientation that it came with.

    Args:
        value: As `is_image_file`.
        where: For error messages.

    Raises:
        InputError: Pillow cannot read or write it.
    """
    if isinstance(value, ImageFile):
        return value
    if isinstance(value, bytes | Mapping):
        return ImageFile(name=where, data=value if isinstance(value, bytes) else value["bytes"])
    stream = io.BytesIO()
    try:
        kind = "PNG" if value.mode in _PNG_MODES else "TIFF"
        value.save(
            stream,
            kind,
            exif=value.getexif(),
            **({"compress_level": _LEVEL} if kind == "PNG" else {}),
        )
    except MemoryError:
        raise
    except Exception as exc:
        fact = (str(exc).splitlines() or [type(exc).__name__])[0][:200]
        raise InputError(f"{where} is an image that Pillow cannot write ({fact})") from exc
    return ImageFile(name=f"{where}.{kind.lower()}", data=stream.getvalue())
