"""Numbers that are claimed once each, also on stores that decide nothing themselves."""

import time
import uuid
from collections.abc import Callable

from fornada import keys
from fornada.errors import ObjectNotFoundError, StoreError
from fornada.storage.interface import ObjectStore

_MAX_TRIES = 10_000
#: How often, and how long each time, the first of several waits for the others to step back.
_WAITS = 40
_WAIT_S = 0.05


def claim_number(
    objects: ObjectStore,
    data: bytes,
    *,
    first: int,
    key: Callable[[int], str],
    tickets: str,
) -> int:
    """Write `data` under the key of a number that nobody else has or gets; return the number.

    Where the store honours `If-None-Match`, it decides. Elsewhere two writers could both find a
    key free. There a claimant first puts a ticket under a key of his own and then lists the
    number's tickets. Who finds his alone has the number, and his ticket stays; who finds another's
    takes his own away and goes on to the next number. Of two claimants the later to put a ticket
    lists after both were put, so never do both find theirs alone. The lowest ticket waits a while
    before it gives way, so that the number is not left unused. A claimant that dies leaves a
    number unused, no more.

    Args:
        objects: The store; what was written before a listing began is in the listing.
        data: What is written; other claimants' differs.
        first: The lowest number to try: one more than the highest that is known to be taken.
        key: The object that belongs to a number.
        tickets: Prefix of the tickets, which nothing else is put under.

    Raises:
        StoreError: The store cannot be reached or refuses, or no number is free.
    """
    take = _take_by_condition if objects.conditional_writes else _take_by_ticket
    for number in range(first, first + _MAX_TRIES):
        if take(objects, data, key=key(number), tickets=keys.ticket_prefix(tickets, number)):
            return number
    raise StoreError(f"no free number from {first} on; look at {key(first)} in the store")


def last_ticket(objects: ObjectStore, tickets: str) -> int:
    """The highest number that somebody has put a ticket for; 0 if there is none."""
    return max((keys.ticket_number(info.key) for info in objects.list(tickets)), default=0)


def _take_by_condition(objects: ObjectStore, data: bytes, *, key: str, tickets: str) -> bool:  # noqa: ARG001 - as below
    return objects.put_if_absent(key, data)


def _take_by_ticket(objects: ObjectStore, data: bytes, *, key: str, tickets: str) -> bool:
    # Another one for each try: a delete that the network delays must not hit a later ticket.
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
        # Not even its own: the store does not list what was just put, and must not decide.
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
