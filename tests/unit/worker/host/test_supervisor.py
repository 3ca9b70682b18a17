"""The supervisor on real processes: restart with back-off, stop in order, no use of trying."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worker.host import supervisor
from worker.host.health import HealthFile
from worker.host.supervisor import _Slot, worker_command

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
_BEATS = """
import os, pathlib, signal, socket, sys, threading
folder = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
(folder / f"alive-{os.getpid()}").touch()
sign = folder / "workers" / f"{socket.gethostname()}-{os.getpid()}.json"
sign.parent.mkdir(exist_ok=True)
while True:
    sign.touch()
    with (folder / f"beats-{os.getpid()}").open("a") as beats:
        beats.write(".")
    threading.Event().wait(0.05)
"""
_DIES = """
import pathlib, sys, uuid
pathlib.Path(sys.argv[1], f"died-{uuid.uuid4()}").touch()
sys.exit(int(sys.argv[2]))
"""
_SUPERVISE = """
import json, pathlib, sys
from worker.host.supervisor import Supervisor
count, cache_dir, limits, *code = sys.argv[1:]
command = [sys.executable, "-I", "-S", "-c", *code]
supervisor = Supervisor(
    command,
    environs=[{"PROCESS": str(number)} for number in range(int(count))],
    cache_dir=pathlib.Path(cache_dir),
    **json.loads(limits),
)
sys.exit(supervisor.run())
"""


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Begin a supervisor of so many children that run `code`."""
    begun: list[subprocess.Popen] = []

    def begin(count: int, code: str, *arguments: object, **limits: float) -> subprocess.Popen:
        given = [str(count), str(tmp_path), json.dumps(limits), code, *map(str, arguments)]
        command = [sys.executable, "-c", _SUPERVISE, *given]
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


def test_each_child_has_its_own_addition_to_the_environment(
    supervise: Callable[..., subprocess.Popen], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    code = _LIVES.replace("alive-{threading.get_native_id()}", "alive-{os.environ['PROCESS']}")

    supervise(2, f"import os{code}", tmp_path)

    wait_until(lambda: (tmp_path / "alive-0").exists() and (tmp_path / "alive-1").exists())


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


def _pids(folder: Path) -> list[int]:
    return [int(path.name.removeprefix("alive-")) for path in folder.glob("alive-*")]


def _beats(folder: Path, pid: int) -> int:
    path = folder / f"beats-{pid}"
    return path.stat().st_size if path.exists() else 0


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_that_shows_life_is_left_alone_and_one_that_is_stopped_is_replaced(
    supervise: Callable[..., subprocess.Popen], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    # given a child that has lived longer than it may be silent
    supervise(1, _BEATS, tmp_path, stale_after_s=2, start_limit_s=60)
    wait_until(lambda: _pids(tmp_path))
    (first,) = _pids(tmp_path)
    wait_until(lambda: _beats(tmp_path, first) >= 80, 60)
    assert [first] == _pids(tmp_path)

    # when it is stopped
    os.kill(first, signal.SIGSTOP)

    # then there is another in its place, and nothing left of the first
    wait_until(lambda: 2 == len(_pids(tmp_path)), 60)
    assert not _runs(first)
    assert not list((tmp_path / "workers").glob(f"*-{first}.json"))


def test_a_child_that_never_shows_life_is_replaced_after_the_limit_for_a_start(
    supervise: Callable[..., subprocess.Popen], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    supervise(1, _LIVES, tmp_path, stale_after_s=60, start_limit_s=0.5)
    wait_until(lambda: _pids(tmp_path))
    (first,) = _pids(tmp_path)

    wait_until(lambda: 2 == len(_pids(tmp_path)), 60)

    assert not _runs(first)


def test_a_child_that_takes_long_to_start_is_waited_for(
    supervise: Callable[..., subprocess.Popen], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    # given one that shows its first sign long after a running one would be killed
    late = f"import threading; threading.Event().wait(2.5); {_BEATS.strip()}"
    supervise(1, late, tmp_path, stale_after_s=1.5, start_limit_s=60)
    wait_until(lambda: _pids(tmp_path), 60)
    (first,) = _pids(tmp_path)

    wait_until(lambda: _beats(tmp_path, first) >= 2)

    assert [first] == _pids(tmp_path)


@pytest.mark.parametrize("code", [_BEATS, _LIVES], ids=["has shown life", "has shown none"])
def test_a_child_that_cannot_heed_the_signal_does_not_hold_up_the_end(
    code: str,
    supervise: Callable[..., subprocess.Popen],
    tmp_path: Path,
    wait_until: Callable[..., None],
) -> None:
    # given one child that is stopped and one that is not
    supervisor = supervise(2, code, tmp_path, stale_after_s=1, start_limit_s=3600)
    wait_until(lambda: 2 == len(_pids(tmp_path)))
    stopped, other = _pids(tmp_path)
    os.kill(stopped, signal.SIGSTOP)

    supervisor.send_signal(signal.SIGTERM)

    assert 0 == supervisor.wait(60)
    assert not _runs(stopped)
    assert not _runs(other)


def test_more_signals_while_it_stops_change_nothing(
    supervise: Callable[..., subprocess.Popen], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    # given a child that takes its time to end, showing life
    takes_time = _BEATS.replace("lambda *_: sys.exit(0)", "lambda *_: (folder / 'told').touch()")
    takes_time = takes_time.replace("while True", "while not (folder / 'free').exists()")
    supervisor = supervise(1, takes_time, tmp_path, stale_after_s=60)
    wait_until(lambda: _pids(tmp_path))
    (child,) = _pids(tmp_path)

    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        supervisor.send_signal(number)
        wait_until((tmp_path / "told").exists)
        so_far = _beats(tmp_path, child)
        wait_until(lambda so_far=so_far: _beats(tmp_path, child) > so_far)
    assert supervisor.poll() is None
    (tmp_path / "free").touch()

    assert 0 == supervisor.wait(10)


class _Clock:
    """Seconds that the test lets pass."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


def _slot(folder: Path, clock: _Clock, code: str = "raise SystemExit(1)") -> _Slot:
    command = [sys.executable, "-I", "-S", "-c", code]
    limits = {"stale_after_s": 60, "start_limit_s": 60}
    return _Slot(command, environ={}, cache_dir=folder, clock=clock, **limits)


def _end(slot: _Slot, wait_until: Callable[..., None]) -> int | None:
    """Tend the slot until its process has ended; return the exit code."""
    codes: list[int] = []
    wait_until(lambda: codes.append(code) is None if (code := slot.tend()) is not None else False)
    return codes[0]


def test_the_back_off_doubles_up_to_half_a_minute(
    clock: _Clock, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    # given a process that dies at once, every time
    slot = _slot(tmp_path, clock)
    waited: list[float] = []

    # when it is tended as soon as it is due
    for _ in range(7):
        slot.tend()
        assert 1 == _end(slot, wait_until)
        waited.append(slot._due_at - clock.now_s)
        clock.now_s = slot._due_at

    assert [1, 3, 7, 15, 30, 30, 30] == waited


def test_the_back_off_survives_a_night_of_failures(
    clock: _Clock, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    slot = _slot(tmp_path, clock)
    slot._failures = 5000
    slot.tend()

    _end(slot, wait_until)

    assert 30 == slot._due_at - clock.now_s


def test_a_process_is_not_started_before_it_is_due(
    clock: _Clock, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    slot = _slot(tmp_path, clock)
    slot.tend()
    _end(slot, wait_until)

    clock.now_s = slot._due_at - 0.01
    slot.tend()

    assert slot._process is None


@pytest.mark.parametrize(
    ("code", "lived_s", "waits_s"),
    [(_BEATS, 11, 0), (_BEATS, 9, 30), (_LIVES, 11, 30)],
    ids=["lived", "died at once", "never showed life"],
)
def test_only_a_process_that_showed_life_and_lived_a_while_is_started_again_at_once(
    code: str, lived_s: float, waits_s: float, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    # given one that failed before, and then ran for a while
    clock = _Clock()
    slot = _slot(tmp_path, clock, code)
    slot._command.append(str(tmp_path))
    slot._failures = 4
    slot.tend()
    wait_until(lambda: slot.tend() is None and (code == _BEATS) == slot._heartbeat.was_seen)
    clock.now_s += lived_s

    slot._process.kill()
    _end(slot, wait_until)

    assert waits_s == slot._due_at - clock.now_s


def test_a_sign_left_by_an_earlier_process_of_that_number_is_no_sign_of_life(
    clock: _Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., None],
) -> None:
    left = HealthFile(tmp_path, name="one")
    left.beat()
    monkeypatch.setattr(supervisor, "worker_name", lambda _pid: "one")
    slot = _slot(tmp_path, clock, "import threading; threading.Event().wait()")

    slot.tend()
    slot.tend()
    slot._process.kill()
    _end(slot, wait_until)

    assert not slot._heartbeat.was_seen


def test_a_folder_named_worker_where_the_user_stands_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "__init__.py").write_text("raise SystemExit('theirs')")

    done = subprocess.run(
        [*worker_command(threads=1), "--help"], cwd=tmp_path, capture_output=True, check=True
    )

    assert b"--threads" in done.stdout


@pytest.mark.parametrize(("given", "expected"), [(None, "33554432"), ("1", "1")])
def test_children_keep_the_memory_of_a_shard_unless_the_operator_says_otherwise(
    given: str | None,
    expected: str,
    supervise: Callable[..., subprocess.Popen],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a child that is wrongly started, so that the supervisor ends with it
    if given is not None:
        monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", given)
    tells = (
        "import os, pathlib, sys;"
        "pathlib.Path(sys.argv[1], 'told').write_text(os.environ['MALLOC_MMAP_THRESHOLD_']);"
        "sys.exit(2)"
    )

    # when
    assert 2 == supervise(1, tells, tmp_path).wait(10)

    # then
    assert expected == (tmp_path / "told").read_text()
