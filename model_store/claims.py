"""Claim numbers, each only once, even on stores without conditional writes."""

import time
import uuid
from collections.abc import Callable

from fornada import keys
from fornada.errors import ObjectNotFoundError, StoreError
from fornada.storage.interface import ObjectStore

_MAX_TRIES = 10_000
#: How often, and how long each time, the first of several claimants waits for the others to yield.
_WAITS = 40
_WAIT_S = 0.05


def claim_number(
    objects: ObjectStore,
    data: bytes,
    *,
    above: int,
    key: Callable[[int], str],
    tickets: str,
) -> int:
    """Write `data` under the next free number, which no other claimant gets; return the number.

    A store that honours `If-None-Match` decides. On any other, two writers could both find a key
    free, so a claimant first puts a ticket under a key of its own and then lists the number's
    tickets. If its own is the only one, it has the number and the ticket stays. Otherwise it
    removes its ticket and tries the next number. Of two claimants, the later to put its ticket
    lists both, so two never both find themselves alone. The lowest ticket waits a while before it
    yields, so that the number is not wasted. A claimant that dies wastes a number, nothing more.

    Args:
        objects: The store; a listing includes everything written before it began.
        data: What to write; other claimants write something else.
        above: The highest number known to be taken.
        key: The key of a number's object.
        tickets: Prefix of the tickets, used for nothing else.

    Raises:
        StoreError: The store cannot be reached or refuses, or no number is free.
    """
    conditional = objects.conditional_writes
    first = 1 + max(above, _last_ticket(objects, tickets))
    for number in range(first, first + _MAX_TRIES):
        if conditional:
            taken = objects.put_if_absent(key(number), data)
        else:
            prefix = keys.ticket_prefix(tickets, number)
            taken = _take_by_ticket(objects, data, key=key(number), tickets=prefix)
        if taken:
            return number
    raise StoreError(f"no free number from {first} on; look at {key(first)} in the store")


def _last_ticket(objects: ObjectStore, tickets: str) -> int:
    numbers = (keys.ticket_number(info.key) for info in objects.list(tickets))
    return max((number for number in numbers if number is not None), default=0)


def _take_by_ticket(objects: ObjectStore, data: bytes, *, key: str, tickets: str) -> bool:
    # A new ticket for each try: a delayed delete must not hit a later one.
    ticket = f"{tickets}{uuid.uuid4().hex}"
    objects.put(ticket, b"{}")
    if not _is_alone(objects, ticket, key=key, tickets=tickets):
        objects.delete(ticket)
        return False
    objects.put(key, data)
    return True


def _is_alone(objects: ObjectStore, ticket: str, *, key: str, tickets: str) -> bool:
    for _ in range(_WAITS):
        found = [info.key for info in objects.list(tickets)]
        if found == [ticket]:
            return True
        # A store that does not list what was just put cannot decide.
        if ticket not in found or min(found) != ticket or _exists(objects, key):
            return False
        time.sleep(_WAIT_S)
    return False


def _exists(objects: ObjectStore, key: str) -> bool:
    try:
        objects.get(key, max_bytes=1)
    except ObjectNotFoundError:
        return False
    return True
