"""The items of a call of `predict`: one array for each shape, image files decoded."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    """The items of a call."""

    #: Items of one shape each: their numbers, and item dtype [items, *their shape].
    groups: list[tuple[NDArray[np.int64], Array]]
    item_count: int
    #: Number of an item that cannot be predicted -> why; its row in a group holds anything.
    errors: Mapping[int, str]


def call_items(inputs: object, signature: Signature) -> CallItems:
    """What a caller gives to `predict`; no more is read than fits into a call.

    Raises:
        InputError: It does not fit the model.
        UsageError: There are too many items.
    """
    read = partial(read_blocks, signature=signature, max_file_bytes=_MAX_FILE_BYTES, strict=False)
    parts: dict[tuple[int, ...], list[tuple[NDArray[np.int64], Array]]] = {}
    errors: dict[int, str] = {}
    item_count = size_bytes = 0
    for block in blocks_of(inputs, None, signature=signature, read_files=read):
        rows, found = _rows_of(block, signature)
        errors |= {item_count + number: why for number, why in found.items()}
        numbers = np.arange(item_count, item_count + len(rows))
        parts.setdefault(rows.shape[1:], []).append((numbers, rows))
        item_count += max(1, len(rows))
        size_bytes += max(1, rows.nbytes)
        if size_bytes > MAX_CALL_BYTES:
            raise UsageError(
                f"inputs have {size_bytes} bytes of items or more, and a call takes "
                f"{MAX_CALL_BYTES}; submit them as a job"
            )
    if not item_count:
        raise InputError("there are no items; give at least one")
    joined = [
        (np.concatenate([numbers for numbers, _ in alike]), np.concatenate([r for _, r in alike]))
        for alike in parts.values()
    ]
    return CallItems([(n, rows) for n, rows in joined if len(n)], item_count, errors)


def _rows_of(block: Block, signature: Signature) -> tuple[Array, Mapping[int, str]]:
    """The rows of a block; none of a file that cannot be decoded, and why."""
    if not isinstance(block, ImageFile):
        return block.images, block.errors
    check_image_input(signature.input, where=block.name)
    why = block.error
    if why is None:
        try:
            item = decode_item(block.data, taken=signature.input, where=block.name)
        except InputError as exc:
            why = str(exc)
        else:
            return item[np.newaxis], {}
    return np.empty((0,), signature.item_dtype), {0: why}
