"""A child process: its log, its readiness, its end."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fornada.errors import StackError
from fornada.local.child import Child

_FOR_EVER = "import threading; threading.Event().wait()"
_IGNORES_SIGTERM = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); "
    + _FOR_EVER
)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Begin a Python child that runs `code`; it is ended with the test."""
    begun: list[Child] = []

    def begin_child(code: str, *, stdin: bytes = b"", grace_s: float = 5.0) -> Child:
        child = Child(
            name="the child",
            argv=[sys.executable, "-I", "-S", "-c", code],
            environ={},
            output_path=tmp_path / "child.log",
            stdin=stdin,
            grace_s=grace_s,
        )
        begun.append(child)
        return child

    yield begin_child
    for child in begun:
        child.stop()


def test_it_reads_its_stdin_and_its_output_is_in_the_file(begin: Callable[..., Child]) -> None:
    child = begin("import sys; print(sys.stdin.read().upper())", stdin=b"secret")

    code = child.finish()

    assert 0 == code
    assert "SECRET" == child.output_tail()


def test_a_child_that_ends_instead_is_an_error_with_the_end_of_its_log(
    begin: Callable[..., Child],
) -> None:
    child = begin("raise SystemExit('no disk')")

    with pytest.raises(StackError, match=r"(?s)the child ended with code 1.*no disk"):
        child.wait(lambda: False, timeout_s=10)


def test_a_child_that_is_never_ready_is_an_error(begin: Callable[..., Child]) -> None:
    child = begin(_FOR_EVER)

    with pytest.raises(StackError, match=r"not ready within 0\.1 s"):
        child.wait(lambda: False, timeout_s=0.1)


def test_an_answer_counts_only_from_a_child_that_lives(begin: Callable[..., Child]) -> None:
    child = begin("")
    child.finish()

    with pytest.raises(StackError):
        child.wait(lambda: True, timeout_s=10)


def test_a_program_that_does_not_exist_is_a_stack_error(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="no-such-program"):
        Child(
            name="nothing",
            argv=[str(tmp_path / "no-such-program")],
            environ={},
            output_path=tmp_path / "log",
        )


def test_stop_kills_what_does_not_listen(begin: Callable[..., Child]) -> None:
    child = begin(_IGNORES_SIGTERM, grace_s=0.2)
    child.wait(lambda: "deaf" in child.output_tail(), timeout_s=10)

    child.stop()

    assert -9 == child.exit_code()


def test_stop_also_ends_what_it_left_in_its_group(
    begin: Callable[..., Child], wait_until: Callable[..., None]
) -> None:
    child = begin(
        "import subprocess, sys; "
        f"print(subprocess.Popen([sys.executable, '-c', {_FOR_EVER!r}]).pid, flush=True); "
        + _FOR_EVER
    )
    child.wait(lambda: child.output_tail().isdigit(), timeout_s=10)
    grandchild = int(child.output_tail())

    child.stop()

    wait_until(lambda: not _lives(grandchild))


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
