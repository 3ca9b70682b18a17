"""The items of several inputs, which come in blocks of any size, put together item by item."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from fornada.errors import InputError, MissingExtraError
from fornada.formats.images import check_image_input, decode_item
from fornada.formats.items import Array
from fornada.formats.rows import Rows, blank
from fornada.tensors import InputTensor
from producer.inputs.interface import Block, ImageFile, ItemBlock

#: Blocks that are counted to say how many items an input has.
_MOST_COUNTED = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """Some items of one input."""

    array: Array
    are_files: bool
    errors: dict[int, str]
    item_ids: list[str] | None


class InputItems:
    """The items of one input, of which as many as wanted are taken at a time."""

    def __init__(
        self, taken: InputTensor, blocks: Iterator[Block], *, keeps_files: bool = False
    ) -> None:
        """Take the items of `blocks`.

        Args:
            taken: The input.
            blocks: Its items.
            keeps_files: Whether image files stay as they are; otherwise they are decoded.
        """
        self.taken = taken
        to_rows = _with_file if keeps_files else _with_rows
        self._blocks = (
            block if isinstance(block, ItemBlock) else to_rows(block, taken) for block in blocks
        )
        self._block: ItemBlock | None = None
        self._at = 0
        self._taken_count = 0

    def ready_count(self) -> int:
        """How many items can be taken now; none at the end."""
        while self._block is None or self._at == len(self._block.rows):
            self._block, self._at = next(self._blocks, None), 0
            if self._block is None:
                return 0
        return len(self._block.rows) - self._at

    def take(self, count: int) -> _Part:
        """The next items, which are ready."""
        block, start = self._block, self._at
        if block is None:
            raise IndexError("no items are ready")
        stop = self._at = start + count
        self._taken_count += count
        ids = block.item_ids
        return _Part(
            array=block.rows.only[start:stop],
            are_files=bool(block.files),
            errors={n - start: why for n, why in block.errors.items() if start <= n < stop},
            item_ids=None if ids is None else ids[start:stop],
        )

    def count_in_words(self) -> str:
        """`3 items` of it in all, or `at least 3000`."""
        count = self._taken_count + self.ready_count()
        count += sum(len(block.rows) for block in islice(self._blocks, _MOST_COUNTED))
        more = next(self._blocks, None) is not None
        return f"{'at least ' if more else ''}{count} item{'s' * (count != 1)}"


def zipped(inputs: Sequence[InputItems], *, where: str) -> Iterator[ItemBlock]:
    """The items of all inputs, in blocks; an item that one input fails has failed.

    Raises:
        InputError: The inputs have different numbers of items.
    """
    first = 0
    while True:
        ready = [each.ready_count() for each in inputs]
        count = min(ready)
        if not count:
            break
        parts = [each.take(count) for each in inputs]
        errors: dict[int, str] = {}
        for each, part in zip(inputs, parts, strict=True):
            named = {n: f"{each.taken.name!r}: {why}" for n, why in part.errors.items()}
            errors = named | errors
        yield ItemBlock(
            rows=Rows(*(part.array for part in parts)),
            item_ids=next((part.item_ids for part in parts if part.item_ids is not None), None),
            where=f"{where}[{first}:]" if first else where,
            errors=errors,
            files=frozenset(
                each.taken.name for each, part in zip(inputs, parts, strict=True) if part.are_files
            ),
        )
        first += count
    if any(ready):
        counts = ", ".join(f"{each.taken.name!r} has {each.count_in_words()}" for each in inputs)
        raise InputError(f"{where}: {counts}; give as many of each input")


def _with_file(block: ImageFile, taken: InputTensor) -> ItemBlock:
    """The file as it is."""
    check_image_input(taken, where=block.name)
    data = np.empty(1, object)
    data[0] = block.data
    return replace(_block_of(data, block, block.error), files=frozenset({taken.name}))


def _with_rows(block: ImageFile, taken: InputTensor) -> ItemBlock:
    """The item that the file becomes; a blank one if it cannot."""
    check_image_input(taken, where=block.name)
    item, error = None, block.error
    if error is None:
        try:
            item = decode_item(block.data, taken=taken, where=block.name)
        except (InputError, MissingExtraError) as exc:
            error = str(exc)
    if item is None:
        item = blank([side or 1 for side in taken.shape], taken.numpy_dtype)
    return _block_of(item[None], block, error)


def _block_of(items: Array, file: ImageFile, error: str | None) -> ItemBlock:
    return ItemBlock(
        rows=Rows(items),
        item_ids=None if file.item_id is None else [file.item_id],
        where=file.name,
        errors={} if error is None else {0: error},
    )
