"""When a waiter looks at its job, by a clock of the test's own."""

import pytest

from fornada.coordination.notices.interface import Notice
from producer.following.waiting import LOOK_EVERY_S, Due, LookTimes


class _Waiter:
    """A waiter that does at once what is due, and when it did."""

    def __init__(self, *, glances: bool = False) -> None:
        self.now = 0.0
        self.times = LookTimes(glances=glances, monotonic=lambda: self.now)
        self.did: list[tuple[float, Due]] = []

    def hear(self, notice: Notice) -> None:
        self.times.hear(notice)
        self.go_on(0.0)

    def go_on(self, seconds: float) -> None:
        """Let time pass, and do what becomes due."""
        until = self.now + seconds
        while True:
            due = self.times.due()
            if isinstance(due, Due):
                self.did.append((round(self.now, 3), due))
            elif self.now + due > until:
                self.now = until
                return
            else:
                self.now += due

    def count(self, what: Due) -> int:
        return [due for _, due in self.did].count(what)


@pytest.fixture
def listening() -> _Waiter:
    waiter = _Waiter(glances=True)
    waiter.hear(Notice.LISTENING)
    waiter.did.clear()
    return waiter


def test_a_waiter_that_hears_nothing_looks_every_15_s(listening: _Waiter) -> None:
    listening.go_on(60)

    assert [(n * LOOK_EVERY_S, Due.LOOK) for n in (1, 2, 3, 4)] == listening.did


def test_a_waiter_looks_at_once_when_it_hears_of_the_end_or_of_a_new_connection(
    listening: _Waiter,
) -> None:
    for notice in (Notice.ENDED, Notice.LISTENING, Notice.CUT_OFF):
        listening.did.clear()
        listening.hear(notice)
        assert [(0.0, Due.LOOK)] == listening.did


def test_ends_that_others_invent_cost_few_looks(listening: _Waiter) -> None:
    for _ in range(6000):
        listening.hear(Notice.ENDED)
        listening.go_on(0.01)

    # Each doubles the time until the next is followed, up to 15 s; and the looks of every 15 s.
    assert listening.count(Due.LOOK) <= 9 + 4 + 4


def test_progress_that_others_invent_costs_redis_five_glances_a_second(
    listening: _Waiter,
) -> None:
    for _ in range(1000):
        listening.hear(Notice.PROGRESS)
        listening.go_on(0.01)

    assert 45 <= listening.count(Due.GLANCE) <= 51
    assert 0 == listening.count(Due.LOOK)


def test_the_progress_that_is_not_told_is_asked_for_soon(listening: _Waiter) -> None:
    listening.hear(Notice.PROGRESS)
    listening.go_on(10)

    assert [(0.0, Due.GLANCE), (0.25, Due.GLANCE)] == listening.did


def test_without_notices_a_waiter_polls_at_growing_intervals_up_to_a_second() -> None:
    waiter = _Waiter()
    waiter.hear(Notice.CUT_OFF)

    waiter.go_on(10)

    at = [when for when, _ in waiter.did]
    assert [0.05, 0.125] == at[:2]
    assert 12 <= len(at) <= 16
    assert 1.0 == round(at[-1] - at[-2], 3)
