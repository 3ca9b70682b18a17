"""The callers' ids of items: what may be one, and that none comes twice."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import replace
from numbers import Integral
from uuid import UUID

from fornada.errors import InputError, UsageError
from producer.inputs.interface import ItemBlock

#: Bytes of a digest, by which ids are remembered; so many collide by no accident.
_DIGEST_BYTES = 12


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
        UsageError: It is no sequence of ids.
        InputError: One of them is no id.
    """
    if isinstance(values, str | bytes | Mapping | Set) or not isinstance(values, Iterable):
        raise UsageError(f"{where} is {type(values).__name__}; give a list of one id an item")
    return [as_item_id(value, where=f"{where}[{n}]") for n, value in enumerate(values)]


def with_item_ids(blocks: Iterable[ItemBlock], item_ids: list[str]) -> Iterator[ItemBlock]:
    """The blocks, with the ids in order.

    Raises:
        UsageError: The blocks have ids already.
        InputError: There are more items than ids, or more ids than items.
    """
    taken = 0
    for block in blocks:
        if block.item_ids is not None:
            raise UsageError("item_ids came with inputs that have ids of their own; give one")
        upto = taken + len(block.images)
        if upto > len(item_ids):
            raise _other_count(item_ids, upto)
        yield replace(block, item_ids=item_ids[taken:upto])
        taken = upto
    if taken < len(item_ids):
        raise _other_count(item_ids, taken)


def _other_count(item_ids: list[str], item_count: int) -> InputError:
    return InputError(
        f"{len(item_ids)} item ids for {item_count} items; give one id an item, or none"
    )


def without_duplicates(blocks: Iterable[ItemBlock]) -> Iterator[ItemBlock]:
    """The blocks, once it is sure that no item has another's id.

    It remembers about a hundred bytes an item.

    Raises:
        InputError: Two items have one id.
    """
    known: dict[bytes, int] = {}
    first = 0
    for block in blocks:
        for number, item_id in enumerate(block.item_ids or (), first):
            digest = hashlib.blake2b(
                item_id.encode("utf-8", "backslashreplace"), digest_size=_DIGEST_BYTES
            ).digest()
            other = known.setdefault(digest, number)
            if other != number:
                raise InputError(
                    f"{block.where}: items {other} and {number} have the same id "
                    f"{item_id[:80]!r}; give each item an id of its own"
                )
        first += len(block.images)
        yield block
