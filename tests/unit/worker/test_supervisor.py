"""The supervisor on real processes: restart with back-off, stop in order, no use of trying."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worker.supervisor import _Slot, worker_command

_LIVES = """
import pathlib, signal, sys, threading
folder = pathlib.Path(sys.argv[1])
def stop(*_):
    (folder / f"stopped-{threading.get_native_id()}").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
(folder / f"alive-{threading.get_native_id()}").touch()
threading.Event().wait()
"""
_DIES = """
import pathlib, sys, uuid
pathlib.Path(sys.argv[1], f"died-{uuid.uuid4()}").touch()
sys.exit(int(sys.argv[2]))
"""
_SUPERVISE = """
import sys
from worker.supervisor import Supervisor
command = [sys.executable, "-I", "-S", "-c", *sys.argv[2:]]
sys.exit(Supervisor(command, count=int(sys.argv[1])).run())
"""


@pytest.fixture
def supervise() -> Iterator[Callable[..., subprocess.Popen]]:
    """Begin a supervisor of so many children that run `code`."""
    begun: list[subprocess.Popen] = []

    def begin(count: int, code: str, *arguments: object) -> subprocess.Popen:
        command = [sys.executable, "-c", _SUPERVISE, str(count), code, *map(str, arguments)]
        begun.append(
            subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        )
        return begun[-1]

    yield begin
    for process in begun:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_children_and_the_end_is_clean(
    number: signal.Signals,
    supervise: Callable[..., subprocess.Popen],
    tmp_path: Path,
    wait_until: Callable[..., None],
) -> None:
    supervisor = supervise(3, _LIVES, tmp_path)
    wait_until(lambda: 3 == len(list(tmp_path.glob("alive-*"))))

    supervisor.send_signal(number)

    assert 0 == supervisor.wait(10)
    assert 3 == len(list(tmp_path.glob("stopped-*")))


def test_a_killed_child_is_started_again(
    supervise: Callable[..., subprocess.Popen], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    supervise(1, _LIVES, tmp_path)
    wait_until(lambda: list(tmp_path.glob("alive-*")))
    (first,) = tmp_path.glob("alive-*")

    subprocess.run(["kill", "-9", first.name.removeprefix("alive-")], check=True)

    wait_until(lambda: 2 == len(list(tmp_path.glob("alive-*"))))


def test_a_child_that_was_started_wrongly_stops_all(
    supervise: Callable[..., subprocess.Popen], tmp_path: Path
) -> None:
    supervisor = supervise(2, _DIES, tmp_path, 2)

    assert 2 == supervisor.wait(10)


def test_a_child_that_dies_at_once_is_started_again_and_again(
    supervise: Callable[..., subprocess.Popen], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    supervisor = supervise(1, _DIES, tmp_path, 1)

    wait_until(lambda: 2 == len(list(tmp_path.glob("died-*"))))
    assert supervisor.poll() is None


class _Clock:
    """Seconds that the test lets pass."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


def _end(slot: _Slot, wait_until: Callable[..., None]) -> int | None:
    """Tend the slot until its process has ended; return the exit code."""
    codes: list[int] = []
    wait_until(lambda: codes.append(code) is None if (code := slot.tend()) is not None else False)
    return codes[0]


def test_the_back_off_doubles_up_to_half_a_minute(
    clock: _Clock, wait_until: Callable[..., None]
) -> None:
    # given a process that dies at once, every time
    slot = _Slot([sys.executable, "-I", "-S", "-c", "raise SystemExit(1)"], clock)
    waited: list[float] = []

    # when it is tended as soon as it is due
    for _ in range(7):
        slot.tend()
        assert 1 == _end(slot, wait_until)
        waited.append(slot._due_at - clock.now_s)
        clock.now_s = slot._due_at

    assert [1, 3, 7, 15, 30, 30, 30] == waited


def test_the_back_off_survives_a_night_of_failures(
    clock: _Clock, wait_until: Callable[..., None]
) -> None:
    slot = _Slot([sys.executable, "-I", "-S", "-c", "raise SystemExit(1)"], clock)
    slot._failures = 5000
    slot.tend()

    _end(slot, wait_until)

    assert 30 == slot._due_at - clock.now_s


def test_a_process_is_not_started_before_it_is_due(
    clock: _Clock, wait_until: Callable[..., None]
) -> None:
    slot = _Slot([sys.executable, "-I", "-S", "-c", "raise SystemExit(1)"], clock)
    slot.tend()
    _end(slot, wait_until)

    clock.now_s = slot._due_at - 0.01
    slot.tend()

    assert slot._process is None


def test_a_process_that_lived_long_is_started_again_at_once(
    clock: _Clock, wait_until: Callable[..., None]
) -> None:
    # given one that failed before, and then ran for a while
    slot = _Slot([sys.executable, "-I", "-S", "-c", "raise SystemExit(1)"], clock)
    slot._failures = 4
    slot.tend()
    clock.now_s += 31

    _end(slot, wait_until)

    assert slot._due_at == clock.now_s


def test_a_folder_named_worker_where_the_user_stands_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "__init__.py").write_text("raise SystemExit('theirs')")

    done = subprocess.run(
        [*worker_command(threads=1), "--help"], cwd=tmp_path, capture_output=True, check=True
    )

    assert b"--threads" in done.stdout
