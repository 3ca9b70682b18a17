"""An object store that reports its requests as events."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from fornada.errors import FornadaError
from fornada.events import Events, StoreRequested
from fornada.storage.interface import ObjectStore
from fornada.storage.wrapper import StoreWrapper


class ReportingStore(StoreWrapper):
    """Reports every request except listings, which take as long as their reader does."""

    def __init__(self, objects: ObjectStore, *, events: Events) -> None:
        super().__init__(objects)
        self._events = events

    def around(self, operation: str, key: str) -> AbstractContextManager[object]:  # noqa: ARG002 - no metric is kept by key
        """Report how long the request took, and its error."""
        return nullcontext() if operation.startswith("list") else self._timed(operation)

    @contextmanager
    def _timed(self, operation: str) -> Iterator[None]:
        began_s = time.monotonic()
        error = None
        try:
            yield
        except FornadaError as exc:
            error = type(exc).__name__
            raise
        finally:
            self._events.tell(
                StoreRequested(
                    operation=operation, duration_s=time.monotonic() - began_s, error=error
                )
            )
