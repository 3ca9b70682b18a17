"""Predict a shard's photographs block by block, while the next ones are decoded."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from fornada.formats.columns import joined_columns
from fornada.jobs.items import Placed
from fornada.jobs.shard_files import Decoded
from fornada.records import ItemError
from fornada.tensors import OutputTensor
from worker.compute.together import PredictGroups

#: Blocks that are predicted at a time: the rows of the second follow at once.
_BLOCKS = 2
#: Rows of a block, beyond a whole number of calls. Memory of this size is used again for the next
#: one; larger pieces come from the system each time, which takes a photograph a millisecond.
_BLOCK_BYTES = 16 * 1024 * 1024
_MOST_ITEMS = 64


class Streamed(NamedTuple):
    """What the blocks of a shard gave."""

    placed: Placed
    orientations_ignored: int
    tile_items: int | None
    #: Seconds in which a block was waited for, as decoding took longer than to predict.
    decode_s: float


def block_items(tile_items: int, item_bytes: int) -> int:
    """The items of a block: whole calls of `tile_items` rows."""
    fitting = min(_MOST_ITEMS, _BLOCK_BYTES // item_bytes)
    return max(1, fitting // tile_items) * tile_items


def predict_blocks(
    blocks: Callable[[], Iterator[Decoded]],
    *,
    predict: PredictGroups,
    gives: Sequence[OutputTensor],
) -> Streamed:
    """What the model gives for the items of all blocks, which are parts of one shard in order.

    Args:
        blocks: As `ImageFiles.blocks`; called again if calls became smaller between two blocks.
        predict: Called from threads of its own, for two blocks at a time.
        gives: The job's outputs.

    Raises:
        Exception: As `predict` and `blocks`.
    """
    decode_s, sizes = 0.0, set[int | None]()
    done: list[_Block] = []
    while len(sizes) != 1:
        done, waited_s = _all(blocks(), partial(_predicted, predict=predict, gives=gives))
        decode_s += waited_s
        sizes = {each.tile_items for each in done if each.tile_items is not None} or {None}
    return Streamed(
        placed=_joined(done),
        orientations_ignored=sum(each.orientations_ignored for each in done),
        tile_items=sizes.pop(),
        decode_s=decode_s,
    )


class _Block(NamedTuple):
    placed: Placed
    item_count: int
    orientations_ignored: int
    #: `None` where no item could be predicted.
    tile_items: int | None


def _all(
    blocks: Iterator[Decoded], predicted: Callable[[Decoded], _Block]
) -> tuple[list[_Block], float]:
    """All blocks, and the seconds for which one was waited for."""
    done: list[_Block] = []
    running: deque[Future[_Block]] = deque()
    waited_s = 0.0
    with ThreadPoolExecutor(_BLOCKS, thread_name_prefix="block") as threads:
        while True:
            began_s = time.monotonic()
            block = next(blocks, None)
            waited_s += time.monotonic() - began_s
            if block is None:
                break
            running.append(threads.submit(predicted, block))
            # Its rows are free once it is predicted.
            del block
            if len(running) == _BLOCKS:
                done.append(running.popleft().result())
        done += [each.result() for each in running]
    return done, waited_s


def _predicted(block: Decoded, *, predict: PredictGroups, gives: Sequence[OutputTensor]) -> _Block:
    items = block.items
    item_count = sum(len(group.rows) for group in items.groups) + len(items.errors)
    predicted = predict([group.rows for group in items.groups])
    return _Block(
        placed=items.placed(predicted, gives=gives, item_count=item_count),
        item_count=item_count,
        orientations_ignored=block.orientations_ignored,
        tile_items=next((each.tile_items for each in predicted), None),
    )


def _joined(blocks: Sequence[_Block]) -> Placed:
    errors: list[ItemError] = []
    first = 0
    for block in blocks:
        errors += [
            ItemError(index=first + error.index, reason=error.reason)
            for error in block.placed.errors
        ]
        first += block.item_count
    return Placed(joined_columns([block.placed.columns for block in blocks]), errors)
