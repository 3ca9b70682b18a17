"""Arrays of the caller's, one or a stream of them, as blocks."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from fornada.errors import InputError, UsageError
from fornada.formats.items import Array
from producer.inputs.interface import Block, ImageFile, ItemBlock


def blocks_of(
    images: Array | Iterable[Array] | Iterable[Block], item_ids: Sequence[str] | None
) -> Iterator[Block]:
    """One array, or a stream of arrays, as blocks.

    Raises:
        UsageError: `item_ids` came with a stream.
        InputError: `images` is neither.
    """
    if isinstance(images, np.ndarray):
        ids = None if item_ids is None else [str(item_id) for item_id in item_ids]
        yield ItemBlock(images=images, item_ids=ids, where="images")
        return
    if item_ids is not None:
        raise UsageError("item_ids go with one array; in a stream, give ItemBlock with its own ids")
    if not isinstance(images, Iterable):
        raise InputError(
            f"images is {type(images).__name__}; give an array of items, or an iterable of arrays"
        )
    for number, block in enumerate(images):
        if isinstance(block, ItemBlock | ImageFile):
            yield block
        elif isinstance(block, np.ndarray):
            # A copy: a stream may reuse the array while this block waits for its shard.
            yield ItemBlock(images=block.copy(), item_ids=None, where=f"images[{number}]")
        else:
            raise InputError(
                f"images[{number}] is {type(block).__name__}; a stream yields arrays of items"
            )
