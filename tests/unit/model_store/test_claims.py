"""Each number is claimed once, in any order of calls, even on stores that decide nothing."""

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fornada.errors import ObjectNotFoundError, StoreError, StoreUnavailableError
from fornada.storage.memory import InMemoryObjectStore
from model_store import claims
from model_store.claims import claim_number

_STUCK_S = 60.0


def _claim(objects: Any, data: bytes = b"me", above: int = 0) -> int:
    return claim_number(objects, data, above=above, key=lambda n: f"n/{n}", tickets="tickets/")


class _Turns:
    """Threads that call a store one call at a time, in an order chosen by a seed."""

    def __init__(self, objects: InMemoryObjectStore, seed: int, *, deaths: int) -> None:
        self._objects = objects
        self._random = random.Random(seed)
        self._deaths = deaths
        self._waiting: dict[int, threading.Event] = {}
        self._doomed: set[int] = set()
        self._changed = threading.Condition()

    def run(self, calls: list[Callable[[Any], int]]) -> list[int | None]:
        """What each call returned; `None` if it died."""
        results: list[int | None] = [None] * len(calls)
        alive = set(range(len(calls)))

        def work(index: int) -> None:
            try:
                results[index] = calls[index](_Port(self, index, self._objects))
            except StoreUnavailableError:
                pass
            finally:
                with self._changed:
                    alive.discard(index)
                    self._changed.notify_all()

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(calls))]
        for thread in threads:
            thread.start()
        while self._grant(alive):
            pass
        for thread in threads:
            thread.join(_STUCK_S)
        return results

    def _grant(self, alive: set[int]) -> bool:
        with self._changed:
            assert self._changed.wait_for(lambda: alive <= set(self._waiting), timeout=_STUCK_S)
            if not alive:
                return False
            index = self._random.choice(sorted(alive))
            if self._deaths and self._random.random() < 0.05:
                self._deaths -= 1
                self._doomed.add(index)
            self._waiting.pop(index).set()
            return True

    def wait(self, index: int) -> None:
        turn = threading.Event()
        with self._changed:
            self._waiting[index] = turn
            self._changed.notify_all()
        assert turn.wait(_STUCK_S)
        if index in self._doomed:
            raise StoreUnavailableError("dead")


class _Port:
    """A store on which each call waits for its turn."""

    def __init__(self, turns: _Turns, index: int, objects: InMemoryObjectStore) -> None:
        self._turns = turns
        self._index = index
        self._objects = objects
        self.conditional_writes = objects.conditional_writes

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._objects, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self._turns.wait(self._index)
            return method(*args, **kwargs)

        return call


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Claimants wait for each other in turns, not in seconds."""
    monkeypatch.setattr(claims, "_WAIT_S", 0)
    return


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize("deaths", [0, 2], ids=["all live", "two die"])
@pytest.mark.parametrize("conditional", [True, False], ids=["conditional", "unconditional"])
def test_no_number_is_claimed_twice_in_any_order_of_calls(
    *, conditional: bool, deaths: int
) -> None:
    for seed in range(60):
        # given
        objects = InMemoryObjectStore(conditional_writes=conditional)
        turns = _Turns(objects, seed, deaths=deaths)

        # when
        claimants = [lambda port, i=i: _claim(port, b"%d" % i) for i in range(4)]
        numbers = turns.run(claimants)

        # then
        claimed = [number for number in numbers if number is not None]
        assert len(set(claimed)) == len(claimed), f"seed {seed}: {numbers}"
        if not deaths:
            assert [1, 2, 3, 4] == sorted(claimed), f"seed {seed}: {numbers}"
        for index, number in enumerate(numbers):
            if number is not None:
                assert b"%d" % index == objects.get(f"n/{number}").data


@pytest.mark.parametrize("conditional", [True, False], ids=["conditional", "unconditional"])
def test_numbers_count_up_from_the_first(*, conditional: bool) -> None:
    objects = InMemoryObjectStore(conditional_writes=conditional)

    assert [5, 6, 7] == [_claim(objects, b"%d" % n, above=4) for n in range(3)]


def test_an_abandoned_ticket_wastes_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a claimant that died after it put its ticket
    monkeypatch.setattr(claims, "_WAIT_S", 0)
    objects = InMemoryObjectStore(conditional_writes=False)
    objects.put("tickets/00000001-ffff", b"{}")

    assert 2 == _claim(objects)
    with pytest.raises(ObjectNotFoundError):
        objects.get("n/1")
    assert 3 == _claim(objects)


def test_a_store_that_does_not_list_a_put_grants_no_number() -> None:
    class Forgetful(InMemoryObjectStore):
        """Does not list what was just put."""

        def list(self, prefix, *, bucket=None):  # noqa: ANN001, ANN202 - as the base
            return iter(())

    with pytest.raises(StoreError, match="no free number from 1 on; look at n/1"):
        _claim(Forgetful(conditional_writes=False))
