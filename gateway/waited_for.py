"""What a client waits for fails soon where the store is silent; what nobody waits for goes on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send

from fornada.errors import StoreUnavailableError
from fornada.storage.interface import Content, ObjectStore
from fornada.storage.wrapper import StoreWrapper

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: A call that fails after so long met a store that is silent, and not one that refuses.
_SILENT_S = 2.0
#: How long the store is then left alone.
_REST_S = 2.0

_is_waited_for: ContextVar[bool] = ContextVar("is_waited_for", default=False)


class WaitedFor:
    """ASGI middleware: a client waits for what a request does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        token = _is_waited_for.set(scope["type"] == "http")
        try:
            await self._app(scope, receive, send)
        finally:
            _is_waited_for.reset(token)


def patiently(work: Callable[_P, _T]) -> Callable[_P, _T]:
    """`work` for a request whose answer has begun: to cut it off is worse than to be late."""

    def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        token = _is_waited_for.set(False)
        try:
            return work(*args, **kwargs)
        finally:
            _is_waited_for.reset(token)

    return run


class WaitedForStore(StoreWrapper):
    """A store whose calls fail soon while a client waits for them.

    A silent store would hold each thread of the gateway for a minute, and all of them in the end.
    So after one such call the others fail at once, until one that is let through has an answer.
    Writes keep their time, which a large object needs, once they have begun.

    Args:
        objects: The store.
        fails_soon: The same, with a short time for each call.
        clock: In seconds.
    """

    def __init__(
        self,
        objects: ObjectStore,
        *,
        fails_soon: ObjectStore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(objects)
        self._fails_soon = fails_soon
        self._clock = clock
        self._lock = threading.Lock()
        #: Until when no call is made; `None` while the store answers.
        self._rests_until_s: float | None = None

    @property
    def objects(self) -> ObjectStore:
        """The store that calls are passed on to."""
        return self._fails_soon if _is_waited_for.get() else self._objects

    @property
    def conditional_writes(self) -> bool:
        """Whether the store itself decides `put_if_absent`."""
        return self._objects.conditional_writes

    def put(self, key: str, data: Content) -> None:
        """Write `data`, with as much time as it needs."""
        with self.around("put", key):
            self._objects.put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write `data` if the key is free, with as much time as it needs."""
        with self.around("put_if_absent", key):
            return self._objects.put_if_absent(key, data)

    @contextmanager
    def around(self, operation: str, key: str) -> Iterator[None]:  # noqa: ARG002 - all alike
        """Refuse a call at once while the store is silent.

        Raises:
            StoreUnavailableError: It is.
        """
        if not _is_waited_for.get():
            yield
            return
        self._begin()
        began_s = self._clock()
        try:
            yield
        except StoreUnavailableError:
            if self._clock() - began_s > _SILENT_S:
                self._rest()
            raise
        self._rests_until_s = None

    def _begin(self) -> None:
        with self._lock:
            if self._rests_until_s is None:
                return
            now_s = self._clock()
            if now_s < self._rests_until_s:
                raise StoreUnavailableError(
                    f"{self.endpoint} does not answer; try again in a moment"
                ).with_public_text("the object store does not answer; try again in a moment")
            # This call finds out; the others wait for it no longer than it may take.
            self._rests_until_s = now_s + 10.0

    def _rest(self) -> None:
        with self._lock:
            self._rests_until_s = self._clock() + _REST_S
