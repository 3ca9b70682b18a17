"""A silent store holds no client for long."""

import asyncio
from collections.abc import Callable

import pytest
from starlette.types import Receive, Scope, Send

from fornada.errors import StoreUnavailableError
from fornada.testing import HookedObjectStore
from gateway.waited_for import WaitedFor, WaitedForStore, patiently


class _World:
    """A store that is silent at will, and a clock."""

    def __init__(self) -> None:
        self.patient, self.soon = HookedObjectStore(), HookedObjectStore()
        self.now_s = 0.0
        self.calls: list[str] = []
        self.is_silent = False
        self.soon.before = lambda operation, _key: self._call(f"soon {operation}", 8.0)
        self.patient.before = lambda operation, _key: self._call(operation, 75.0)
        self.store = WaitedForStore(self.patient, fails_soon=self.soon, clock=lambda: self.now_s)

    def _call(self, operation: str, takes_s: float) -> None:
        self.calls.append(operation)
        if self.is_silent:
            self.now_s += takes_s
            raise StoreUnavailableError("it is silent")

    def requested(self, work: Callable[[], object]) -> None:
        """Do `work` as a request does it."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            work()

        asyncio.run(WaitedFor(app)({"type": "http"}, None, None))  # type: ignore[arg-type]

    def list(self) -> None:
        list(self.store.list("a/"))


@pytest.fixture
def world() -> _World:
    return _World()


def test_reads_fail_soon_for_a_client_and_late_for_nobody(world: _World) -> None:
    world.requested(world.list)
    world.requested(lambda: world.store.put("a/b", b"x"))
    world.requested(patiently(world.list))
    world.list()

    assert ["soon list", "put", "list", "list"] == world.calls


def test_after_a_silent_call_others_fail_at_once_until_one_is_answered(world: _World) -> None:
    world.is_silent = True

    def fails() -> None:
        with pytest.raises(StoreUnavailableError):
            world.requested(world.list)
        with pytest.raises(StoreUnavailableError):
            world.requested(lambda: world.store.put("a/b", b"x"))

    fails()
    fails()
    assert (["soon list"], 8.0) == (world.calls, world.now_s)
    world.now_s += 3.0
    fails()
    assert ["soon list"] * 2 == world.calls

    world.is_silent = False
    world.now_s += 3.0
    world.requested(world.list)
    world.requested(world.list)
    assert ["soon list"] * 4 == world.calls


def test_a_store_that_refuses_at_once_is_asked_again(world: _World) -> None:
    def refuse(operation: str, _key: str) -> None:
        world.calls.append(operation)
        raise StoreUnavailableError("slow down")

    world.soon.before = refuse

    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            world.requested(world.list)

    assert ["list"] * 2 == world.calls
