"""Item ids from callers: made text, and checked to be unique."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from numbers import Integral
from uuid import UUID

from fornada.errors import InputError, UsageError
from producer.inputs.data.known_ids import KnownIds
from producer.inputs.interface import Block, ImageFile


def as_item_id(value: object, *, where: str) -> str:
    """An id as text.

    Raises:
        InputError: It is neither text, a whole number, a path nor a UUID, or has no UTF-8.
    """
    if isinstance(value, bytes):
        text = value.decode("utf-8", "backslashreplace")
    elif isinstance(value, str | UUID) or (
        isinstance(value, Integral) and not isinstance(value, bool)
    ):
        text = str(value)
    elif isinstance(value, os.PathLike):
        text = os.fsdecode(value)
    else:
        raise InputError(
            f"{where} is {str(value)[:80]!r} of type {type(value).__name__}; give text or whole "
            "numbers"
        )
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise InputError(f"{where} is {text[:80]!r}, which UTF-8 cannot write") from exc
    return text


def as_item_ids(values: object, *, where: str) -> list[str]:
    """Ids in a list, an array or a column, as text.

    Raises:
        UsageError: It is not a sequence of ids.
        InputError: One of them is not an id.
    """
    if isinstance(values, str | bytes | Mapping | AbstractSet) or not isinstance(values, Iterable):
        raise UsageError(f"{where} is {type(values).__name__}; give a list of one id an item")
    return [as_item_id(value, where=f"{where}[{n}]") for n, value in enumerate(values)]


def with_item_ids(blocks: Iterable[Block], item_ids: list[str], *, where: str) -> Iterator[Block]:
    """The blocks, with the ids in order.

    Raises:
        UsageError: The blocks have ids already.
        InputError: There are more items than ids, or more ids than items.
    """
    taken = 0
    for block in blocks:
        own, count = _ids_of(block)
        if own:
            raise UsageError(f"item_ids came, and {where} have ids of their own; give one of both")
        upto = taken + count
        if upto > len(item_ids):
            raise other_count(item_ids, upto, where=where)
        if isinstance(block, ImageFile):
            yield replace(block, item_id=item_ids[taken])
        else:
            yield replace(block, item_ids=item_ids[taken:upto])
        taken = upto
    if taken < len(item_ids):
        raise other_count(item_ids, taken, where=where)


def other_count(item_ids: list[str], item_count: int, *, where: str) -> InputError:
    """Why ids do not go with items."""
    return InputError(
        f"{where}: {len(item_ids)} item ids for {item_count} items; give one id an item, or none"
    )


def without_duplicates(blocks: Iterable[Block]) -> Iterator[Block]:
    """The blocks; ends with an error unless every id was of one item.

    Raises:
        InputError: Two items have one id.
        LocalDiskError: The disk failed.
    """
    first = 0
    with KnownIds() as known:
        for block in blocks:
            ids, count = _ids_of(block)
            known.add(ids, first)
            first += count
            yield block
        known.check()


def _ids_of(block: Block) -> tuple[Sequence[str], int]:
    if isinstance(block, ImageFile):
        return () if block.item_id is None else (block.item_id,), 1
    return block.item_ids or (), len(block.rows)
