"""Whether a store lets one writer of many create an object: found by a race, kept in the bucket.

The answer decides who settles outcomes, the store or Redis, so all processes should have the same.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Protocol

from pydantic import AwareDatetime

from fornada import keys
from fornada.errors import MessageError, ObjectNotFoundError
from fornada.records import Record, now
from fornada.storage.interface import Content, StoredObject

WRITERS = 32
#: An answer is found again after so long: the server behind the endpoint may be another by then.
_KEPT_FOR = timedelta(days=7)
_MOST_BYTES = 4096


class Probe(Record):
    """What a probe of the store found."""

    endpoint: str
    #: Whether a second writer is refused after the first, and but one of `writers` at once is not.
    honoured: bool
    #: How many of `WRITERS` at once were told that they had created the object; 0 without a race.
    winners: int
    probed_at: AwareDatetime


class _Store(Protocol):
    """What a probe needs of a store."""

    endpoint: str

    def get(self, key: str, *, max_bytes: int | None = None) -> StoredObject: ...
    def put(self, key: str, data: Content) -> None: ...
    def delete(self, key: str) -> None: ...


def kept(store: _Store) -> Probe | None:
    """What was found before on this bucket and endpoint, if that was lately."""
    try:
        key = keys.conditions(store.endpoint)
        probe = Probe.from_json(store.get(key, max_bytes=_MOST_BYTES).data, where=key)
    except (ObjectNotFoundError, MessageError):
        return None
    is_late = abs(now() - probe.probed_at) > _KEPT_FOR
    return None if is_late or probe.endpoint != store.endpoint else probe


def keep(store: _Store, probe: Probe) -> None:
    """Spare other processes the probe."""
    store.put(keys.conditions(store.endpoint), probe.to_json())


def probe(store: _Store, put_new: Callable[[str, bytes], bool]) -> Probe:
    """Try it; throwaway objects are deleted.

    Args:
        store: The store.
        put_new: Puts bytes under a key with the condition; whether the store says it created it.
    """
    winners = 0
    key = keys.probe()
    try:
        # The first is refused if its answer was lost and a retry met its own object.
        honoured = not (put_new(key, b"first") and put_new(key, b"second"))
    finally:
        store.delete(key)
    if honoured:
        winners = _race(store, put_new)
    return Probe(
        endpoint=store.endpoint,
        honoured=honoured and winners <= 1,
        winners=winners,
        probed_at=now(),
    )


def _race(store: _Store, put_new: Callable[[str, bytes], bool]) -> int:
    key, start = keys.probe(), threading.Barrier(WRITERS)

    def write(writer: int) -> bool:
        start.wait()
        return put_new(key, b"%d" % writer)

    try:
        with ThreadPoolExecutor(WRITERS) as pool:
            return sum(pool.map(write, range(WRITERS)))
    finally:
        store.delete(key)
