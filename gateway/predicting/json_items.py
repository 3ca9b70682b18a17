"""Items in JSON, with bytes and image files as base64."""

import base64
import binascii
from typing import Any

from fornada.errors import InputError
from fornada.formats.images import HEAD_BYTES, is_image
from producer.inputs.interface import ImageFile


def with_bytes(items: list[Any], *, where: str) -> list[Any]:
    """Items with bytes in place of `{"b64": "…"}`, and image files in place of images.

    Args:
        items: Items, or what each has by the name of an input.
        where: What they are called.

    Raises:
        InputError: One is not base64.
    """
    if not any(isinstance(item, dict) for item in items[:1]):
        return items
    return [_item(item, where=f"{where}[{n}]") for n, item in enumerate(items)]


def _item(item: Any, *, where: str) -> Any:
    if isinstance(item, dict) and set(item) != {"b64"}:
        return {name: _decoded(each, where=f"{where}[{name!r}]") for name, each in item.items()}
    return _decoded(item, where=where)


def _decoded(item: Any, *, where: str) -> Any:
    if not isinstance(item, dict) or set(item) != {"b64"}:
        return item
    try:
        data = base64.b64decode(item["b64"], validate=True)
    except (binascii.Error, ValueError, TypeError) as exc:
        raise InputError(f"{where} is not base64 ({exc}); encode the file's bytes") from None
    return ImageFile(name=where, data=data) if is_image(data[:HEAD_BYTES]) else data
