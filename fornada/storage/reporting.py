"""An object store that reports its requests as events."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from fornada.errors import FornadaError
from fornada.events import Events, StoreRequested
from fornada.storage.interface import ObjectStore
from fornada.storage.wrapper import StoreWrapper


class ReportingStore(StoreWrapper):
    """Reports every request except listings, which take as long as their reader does."""

    def __init__(self, objects: ObjectStore, *, events: Events) -> None:
        super().__init__(objects)
        self._events = events

    @contextmanager
    def around(self, operation: str, key: str) -> Iterator[None]:  # noqa: ARG002 - no metric is kept by key
        """Tell how long the request took, and what error it gave."""
        began_s = time.monotonic()
        error = None
        try:
            yield
        except FornadaError as exc:
            error = type(exc).__name__
            raise
        finally:
            took_s = time.monotonic() - began_s
            if not operation.startswith("list"):
                self._events.tell(
                    StoreRequested(operation=operation, duration_s=took_s, error=error)
                )
