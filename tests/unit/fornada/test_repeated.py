"""A condition that goes on is logged ever more rarely, and counted."""

from typing import Any

from fornada.repeated import Repeated


class _Log:
    """A log, and a clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.lines: list[tuple[float, str, dict[str, Any]]] = []
        self.repeated = Repeated(clock=lambda: self.now_s)

    def write(self, text: str, **values: Any) -> None:
        self.lines.append((self.now_s / 60, text, values))

    def meet_for(self, minutes: float, *, about: str = "job", every_s: float = 1.0) -> None:
        end_s = self.now_s + 60 * minutes
        while self.now_s < end_s:
            self.repeated.log(self.write, "down", about=about, why="refused")
            self.now_s += every_s


def test_a_condition_is_said_at_once_and_then_after_1_2_4_8_and_every_10_minutes() -> None:
    log = _Log()

    log.meet_for(36)

    assert [0, 1, 3, 7, 15, 25, 35] == [round(minute, 1) for minute, _, _ in log.lines]
    assert {"why": "refused"} == log.lines[0][2]
    # and every time is counted once
    assert {"why": "refused", "more_times_since": 59} == log.lines[1][2]
    assert 35 * 60 + 1 == sum(1 + v.get("more_times_since", 0) for _, _, v in log.lines)


def test_conditions_are_told_apart_and_a_new_one_hides_no_other() -> None:
    log = _Log()
    log.meet_for(1, about="a")

    log.meet_for(1, about="b")

    assert [0, 1] == [minute for minute, _, _ in log.lines]


def test_a_condition_that_was_gone_is_said_at_once_when_it_is_back() -> None:
    log = _Log()
    log.meet_for(8)
    log.now_s += 60 * 60

    log.meet_for(0.1)

    assert (68, "down", {"why": "refused"}) == log.lines[-1]


def test_few_conditions_are_remembered() -> None:
    log = _Log()
    for number in range(3000):
        log.repeated.log(log.write, "down", about=number)

    log.repeated.log(log.write, "down", about=2999)
    log.repeated.log(log.write, "down", about=0)

    assert 3001 == len(log.lines)
    assert len(log.repeated._said) <= 1024
