"""Deadlines end a process from outside the GIL, and only when one has passed."""

import faulthandler
import subprocess
import sys
from typing import Any

import pytest

from worker.host import deadlines
from worker.host.deadlines import Deadlines

_HANGS = """
import ctypes, sys, threading
from worker.host.deadlines import Deadlines
deadlines = Deadlines()
with deadlines.within(600), deadlines.within(0.2):
    {hang}
"""
# A C call through PyDLL keeps the GIL: no Python code runs any more.
_HOLDS_THE_GIL = "ctypes.PyDLL(None).sleep(300)"
_WAITS = "threading.Event().wait(300)"


@pytest.mark.parametrize("hang", [_HOLDS_THE_GIL, _WAITS], ids=["holds the GIL", "waits"])
def test_a_process_that_hangs_is_ended_with_its_stacks(hang: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HANGS.format(hang=hang)], capture_output=True, timeout=120
    )

    assert 1 == done.returncode
    assert b"Timeout" in done.stderr
    assert b"line 6" in done.stderr


def test_a_process_without_standard_error_is_ended_too() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, _HANGS.format(hang=_WAITS)],
        timeout=120,
    )

    assert 1 == done.returncode


class _Timer:
    """The clock, and what the C timer was set to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        #: When it fires; `None` if it does not.
        self.fires_at_s: float | None = None
        self.set_count = 0
        monkeypatch.setattr(deadlines.time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(faulthandler, "dump_traceback_later", self._set)
        monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", self._cancel)

    def _set(self, left_s: float, **_: Any) -> None:
        self.fires_at_s = self.now_s + left_s
        self.set_count += 1

    def _cancel(self) -> None:
        self.fires_at_s = None


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> _Timer:
    return _Timer(monkeypatch)


def test_blocks_left_in_time_end_nothing(timer: _Timer) -> None:
    watched = Deadlines()
    with watched.within(30):
        with watched.within(60):
            pass
        with watched.within(5):
            assert 1005.05 == pytest.approx(timer.fires_at_s)
        assert 1030.3 == pytest.approx(timer.fires_at_s)

    assert timer.fires_at_s is None
    with pytest.raises(ValueError, match="ours"), watched.within(1):
        raise ValueError("ours")
    assert timer.fires_at_s is None


def test_a_block_has_its_own_time_not_that_of_one_before(timer: _Timer) -> None:
    watched = Deadlines()
    first = watched.within(10)
    first.__enter__()
    timer.now_s += 5

    with watched.within(10):
        first.__exit__(None, None, None)

        assert 1015.1 == pytest.approx(timer.fires_at_s)


def test_a_timer_that_is_about_right_is_left_alone(timer: _Timer) -> None:
    watched = Deadlines()
    with watched.within(100):
        for _ in range(20):
            timer.now_s += 0.01
            with watched.within(100):
                pass

    assert 1 == timer.set_count
