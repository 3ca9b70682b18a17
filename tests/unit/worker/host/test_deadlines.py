"""Deadlines end a process from outside the GIL, and only when one has passed."""

import subprocess
import sys

import pytest

_HANGS = """
import ctypes, sys, threading
from worker.host.deadlines import Deadlines
deadlines = Deadlines()
with deadlines.within(60), deadlines.within(0.2):
    {hang}
"""
# A C call through PyDLL keeps the GIL: no Python code runs any more.
_HOLDS_THE_GIL = "ctypes.PyDLL(None).sleep(30)"
_WAITS = "threading.Event().wait(30)"

_LEAVES_IN_TIME = """
import threading
from worker.host.deadlines import Deadlines
deadlines = Deadlines()
with deadlines.within(0.3):
    with deadlines.within(60):
        pass
    with deadlines.within(0.05):
        pass
threading.Event().wait(0.6)
"""
_ONE_OF_TWO_HANGS = """
import threading
from worker.host.deadlines import Deadlines
deadlines, wait = Deadlines(), threading.Event().wait
first = deadlines.within(1.0)
first.__enter__()
wait(0.5)
with deadlines.within(1.0):
    first.__exit__(None, None, None)
    wait(0.6)
    print("the deadline of the first is over", flush=True)
    wait(30)
"""
_RAISES = """
import threading
from worker.host.deadlines import Deadlines
try:
    with Deadlines().within(0.1):
        raise ValueError
except ValueError:
    pass
threading.Event().wait(0.4)
"""


def _run(code: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, timeout=20, **options
    )


@pytest.mark.parametrize("hang", [_HOLDS_THE_GIL, _WAITS], ids=["holds the GIL", "waits"])
def test_a_process_that_hangs_is_ended_with_its_stacks(hang: str) -> None:
    done = _run(_HANGS.format(hang=hang))

    assert 1 == done.returncode
    assert b"Timeout" in done.stderr
    assert b"line 6" in done.stderr


def test_it_is_ended_also_without_a_standard_error() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, _HANGS.format(hang=_WAITS)],
        check=False,
        timeout=20,
    )

    assert 1 == done.returncode


def test_a_block_that_hangs_has_its_own_time_not_that_of_one_before() -> None:
    done = _run(_ONE_OF_TWO_HANGS)

    assert 1 == done.returncode
    assert b"the deadline of the first is over\n" == done.stdout


def test_blocks_left_in_time_end_nothing() -> None:
    assert 0 == _run(_LEAVES_IN_TIME).returncode


def test_a_block_left_by_an_error_ends_nothing() -> None:
    assert 0 == _run(_RAISES).returncode
