"""Items of an input, a block at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fornada.errors import InputError, UsageError
from fornada.formats.items import Array


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemBlock:
    """A run of items that were read together."""

    #: [items, *item_shape], dtype as in the file.
    images: Array
    #: The caller's id of each item; `None` for running numbers.
    item_ids: list[str] | None
    #: What was read, for error messages.
    where: str


def blocks_of(
    images: Array | Iterable[Array] | Iterable[ItemBlock], item_ids: Sequence[str] | None
) -> Iterator[ItemBlock]:
    """One array, or a stream of them, as blocks.

    Raises:
        UsageError: `item_ids` came with a stream.
        InputError: It is neither.
    """
    if isinstance(images, np.ndarray):
        ids = None if item_ids is None else [str(item_id) for item_id in item_ids]
        yield ItemBlock(images=images, item_ids=ids, where="images")
        return
    if item_ids is not None:
        raise UsageError(
            "item_ids go with one array; for a stream, give ItemBlock with its own ids"
        )
    if not isinstance(images, Iterable):
        raise InputError(
            f"images is {type(images).__name__}; give an array of items, or an iterable of arrays"
        )
    for number, block in enumerate(images):
        if isinstance(block, ItemBlock):
            yield block
        elif isinstance(block, np.ndarray):
            # A copy: a stream may fill the same array again while this block waits for its shard.
            yield ItemBlock(images=block.copy(), item_ids=None, where=f"images[{number}]")
        else:
            raise InputError(
                f"images[{number}] is {type(block).__name__}; a stream gives arrays of items"
            )
