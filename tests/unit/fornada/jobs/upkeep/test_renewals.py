"""Leases that are renewed while blocks run, all by one thread."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from fornada.errors import BrokerError
from fornada.jobs.upkeep.renewals import Renewals

INTERVAL_S = 0.02


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "renewals"}


@pytest.fixture(autouse=True)
def others(wait_until: Callable[..., None]) -> Iterator[set[threading.Thread]]:
    """Threads of other tests' services, which end in their time; ours are gone after the test."""
    before = _threads()
    yield before
    wait_until(lambda: _threads() <= before)


def test_a_lease_is_renewed_again_and_again(wait_until: Callable[..., None]) -> None:
    renewed: list[float] = []
    began_at = time.monotonic()

    with Renewals(interval_s=INTERVAL_S).renewed(
        lambda: renewed.append(time.monotonic()), lease="test"
    ):
        wait_until(lambda: len(renewed) >= 4)

    # A busy machine delays renewals; none comes early.
    for number, at in enumerate(renewed, start=1):
        assert at >= began_at + number * INTERVAL_S - 1e-6


def test_it_is_renewed_no_more_after_the_block(wait_until: Callable[..., None]) -> None:
    renewals, renewed, other = Renewals(interval_s=INTERVAL_S), [], []
    with renewals.renewed(lambda: renewed.append(1), lease="a"):
        wait_until(lambda: renewed)
    count = len(renewed)

    with renewals.renewed(lambda: other.append(1), lease="a"):
        wait_until(lambda: len(other) >= 3)

    assert count == len(renewed)


def test_the_block_ends_after_the_renewal_that_is_under_way(
    wait_until: Callable[..., None],
) -> None:
    began, may_end, ended = threading.Event(), threading.Event(), []

    def renew() -> None:
        began.set()
        may_end.wait(10)
        ended.append("renewal")

    with Renewals(interval_s=INTERVAL_S).renewed(renew, lease="a"):
        began.wait(10)
        threading.Timer(0.05, may_end.set).start()
    ended.append("block")

    assert ("renewal", "block") == (ended[0], ended[-1])


def test_many_leases_share_one_thread(
    wait_until: Callable[..., None], others: set[threading.Thread]
) -> None:
    renewals, renewed = Renewals(interval_s=INTERVAL_S), set()
    done = threading.Barrier(8 + 1)

    def hold(number: int) -> None:
        with renewals.renewed(lambda: renewed.add(number), lease="a"):
            done.wait(10)

    holders = [threading.Thread(target=hold, args=(number,)) for number in range(8)]
    for holder in holders:
        holder.start()
    wait_until(lambda: len(renewed) == 8)

    assert 1 == len(_threads() - others)
    done.wait(10)
    for holder in holders:
        holder.join(10)


def test_a_renewal_that_fails_is_tried_again(wait_until: Callable[..., None]) -> None:
    tries: list[int] = []

    def renew() -> None:
        tries.append(1)
        raise BrokerError("away")

    with Renewals(interval_s=INTERVAL_S).renewed(renew, lease="a"):
        wait_until(lambda: len(tries) >= 3)


def test_what_is_over_before_its_time_is_never_renewed(wait_until: Callable[..., None]) -> None:
    renewals, renewed, other = Renewals(interval_s=INTERVAL_S), [], []

    with renewals.renewed(lambda: renewed.append(1), lease="a"):
        pass
    with renewals.renewed(lambda: other.append(1), lease="a"):
        wait_until(lambda: len(other) >= 2)

    assert [] == renewed


def test_a_thread_that_ended_is_started_again(
    wait_until: Callable[..., None], others: set[threading.Thread]
) -> None:
    renewals, renewed = Renewals(interval_s=INTERVAL_S), []
    with renewals.renewed(lambda: None, lease="a"):
        pass
    wait_until(lambda: _threads() <= others)

    with renewals.renewed(lambda: renewed.append(1), lease="a"):
        wait_until(lambda: renewed)
