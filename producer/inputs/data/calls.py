"""The items of a call of `predict`: all of them in one array, image files decoded."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from fornada.calls.frames import MAX_CALL_BYTES
from fornada.errors import InputError, UsageError
from fornada.formats.images import check_image_input, decode_item
from fornada.formats.items import Array
from producer.inputs.data.streams import blocks_of
from producer.inputs.interface import Block, ImageFile, Signature
from producer.inputs.local_files import read_blocks

#: Of an image file, which is decoded before it is known how small it becomes.
_MAX_FILE_BYTES = 64 * 1024 * 1024


class CallItems(NamedTuple):
    """rows: item dtype [items, *item_shape], with anything in the rows of failed items."""

    rows: Array
    #: Number of an item that cannot be predicted -> why.
    errors: Mapping[int, str]


def call_items(inputs: object, signature: Signature) -> CallItems:
    """What a caller gives to `predict`, of which no more is read than fits into a call.

    Raises:
        InputError: It does not fit the model, or items differ in shape.
        UsageError: There are too many items.
    """
    read = partial(read_blocks, signature=signature, max_file_bytes=_MAX_FILE_BYTES, strict=False)
    parts: list[Array | None] = []
    errors: dict[int, str] = {}
    item_count = size_bytes = 0
    for block in blocks_of(inputs, None, signature=signature, read_files=read):
        rows, found = _rows_of(block, signature)
        errors |= {item_count + number: why for number, why in found.items()}
        item_count += 1 if rows is None else len(rows)
        size_bytes += 1 if rows is None else rows.nbytes
        if size_bytes > MAX_CALL_BYTES:
            raise UsageError(
                f"inputs have {size_bytes} bytes of items or more, and a call takes "
                f"{MAX_CALL_BYTES}; submit them as a job"
            )
        parts.append(rows)
    return CallItems(_joined(parts, signature), errors)


def _rows_of(block: Block, signature: Signature) -> tuple[Array | None, Mapping[int, str]]:
    """The rows of a block; none of a file that cannot be decoded, and why."""
    if not isinstance(block, ImageFile):
        return block.images, block.errors
    check_image_input(signature.input, where=block.name)
    if block.error is not None:
        return None, {0: block.error}
    try:
        item = decode_item(block.data, taken=signature.input, where=block.name)
    except InputError as exc:
        return None, {0: str(exc)}
    return item[np.newaxis], {}


def _joined(parts: list[Array | None], signature: Signature) -> Array:
    shapes = {part.shape[1:] for part in parts if part is not None}
    if not parts:
        raise InputError("there are no items; give at least one")
    if len(shapes) > 1:
        one, other = sorted(shapes)[:2]
        raise InputError(
            f"inputs have items of shapes {one} and {other}, and a call takes one shape; call for "
            "each, or submit them as a job"
        )
    side = signature.input.shape
    shape = shapes.pop() if shapes else tuple(length or 1 for length in side)
    blank = np.zeros((1, *shape), signature.item_dtype)
    return np.concatenate([blank if part is None else part for part in parts])
