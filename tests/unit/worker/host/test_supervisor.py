"""The supervisor on real processes: it restarts with back-off, and stops in order."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fornada.events import Event, Events
from fornada.events.processes import EndReason, WorkerEnded, WorkerKilled
from worker.host import supervisor
from worker.host.health import HealthFile
from worker.host.supervisor import _Slot, worker_command

Supervise = Callable[..., subprocess.Popen]
Wait = Callable[..., None]
#: For whatever ends by itself, on a busy machine.
LIMIT_S = 60.0

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
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    """Start a supervisor of `count` children that run `code`."""
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
        process.wait(LIMIT_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_children_and_the_end_is_clean(
    number: signal.Signals, supervise: Supervise, tmp_path: Path, wait_until: Wait
) -> None:
    supervisor = supervise(3, _LIVES, tmp_path)
    wait_until(lambda: 3 == len(list(tmp_path.glob("alive-*"))), LIMIT_S)

    supervisor.send_signal(number)

    assert 0 == supervisor.wait(LIMIT_S)
    assert 3 == len(list(tmp_path.glob("stopped-*")))


def test_each_child_has_its_own_addition_to_the_environment(
    supervise: Supervise, tmp_path: Path, wait_until: Wait
) -> None:
    code = _LIVES.replace("alive-{threading.get_native_id()}", "alive-{os.environ['PROCESS']}")

    supervise(2, f"import os{code}", tmp_path)

    wait_until(lambda: (tmp_path / "alive-0").exists() and (tmp_path / "alive-1").exists(), LIMIT_S)


def test_a_killed_child_is_started_again(
    supervise: Supervise, tmp_path: Path, wait_until: Wait
) -> None:
    supervise(1, _LIVES, tmp_path)
    wait_until(lambda: list(tmp_path.glob("alive-*")), LIMIT_S)
    (first,) = tmp_path.glob("alive-*")

    subprocess.run(["kill", "-9", first.name.removeprefix("alive-")], check=True)

    wait_until(lambda: 2 == len(list(tmp_path.glob("alive-*"))), LIMIT_S)


def test_a_child_that_was_started_wrongly_stops_all(supervise: Supervise) -> None:
    assert 2 == supervise(2, "raise SystemExit(2)").wait(LIMIT_S)


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


@pytest.mark.parametrize("code", [_BEATS, _LIVES], ids=["has shown life", "has shown none"])
def test_a_child_that_cannot_obey_the_signal_does_not_hold_up_the_end(
    code: str, supervise: Supervise, tmp_path: Path, wait_until: Wait
) -> None:
    # given one child that is stopped and one that is not
    supervisor = supervise(2, code, tmp_path, stale_after_s=1, start_limit_s=3600)
    wait_until(lambda: 2 == len(_pids(tmp_path)), LIMIT_S)
    stopped, other = _pids(tmp_path)
    os.kill(stopped, signal.SIGSTOP)

    supervisor.send_signal(signal.SIGTERM)

    assert 0 == supervisor.wait(LIMIT_S)
    assert not _runs(stopped)
    assert not _runs(other)


def test_more_signals_while_it_stops_change_nothing(
    supervise: Supervise, tmp_path: Path, wait_until: Wait
) -> None:
    # given a child that shows life, and takes its time to end
    takes_time = _BEATS.replace("lambda *_: sys.exit(0)", "lambda *_: (folder / 'told').touch()")
    takes_time = takes_time.replace("while True", "while not (folder / 'free').exists()")
    supervisor = supervise(1, takes_time, tmp_path, stale_after_s=60)
    wait_until(lambda: _pids(tmp_path), LIMIT_S)
    (child,) = _pids(tmp_path)

    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        supervisor.send_signal(number)
        wait_until((tmp_path / "told").exists, LIMIT_S)
        so_far = _beats(tmp_path, child)
        wait_until(lambda so_far=so_far: _beats(tmp_path, child) > so_far, LIMIT_S)
    assert supervisor.poll() is None
    (tmp_path / "free").touch()

    assert 0 == supervisor.wait(LIMIT_S)


def _slot(
    folder: Path, clock: Any, code: str = "raise SystemExit(1)", heard: list[Event] | None = None
) -> _Slot:
    return _Slot(
        [sys.executable, "-I", "-S", "-c", code, str(folder)],
        number=3,
        environ={},
        cache_dir=folder,
        stale_after_s=20,
        start_limit_s=60,
        events=Events() if heard is None else Events(heard.append),
        clock=clock,
    )


def _end(slot: _Slot, wait_until: Wait, clock: Any | None = None) -> int | None:
    """Tend the slot until its process has ended, once a second of the clock; return the code."""
    codes: list[int] = []

    def has_ended() -> bool:
        if clock is not None:
            clock.now_s += 1
        code = slot.tend()
        if code is not None:
            codes.append(code)
        return bool(codes)

    wait_until(has_ended, LIMIT_S)
    return codes[0]


def _let_pass(clock: Any, slot: _Slot, seconds: int) -> None:
    """Tend the slot once a second."""
    for _ in range(seconds):
        clock.now_s += 1
        assert slot.tend() is None


def test_a_process_that_shows_life_is_left_alone_and_a_stopped_one_is_killed(
    clock: Any, tmp_path: Path, wait_until: Wait
) -> None:
    # given a process that has lived for longer than it may show no life
    heard: list[Event] = []
    slot = _slot(tmp_path, clock, _BEATS, heard)
    slot.tend()
    pid = slot._process.pid
    for _ in range(25):
        before = _beats(tmp_path, pid)
        wait_until(lambda before=before: _beats(tmp_path, pid) > before, LIMIT_S)
        _let_pass(clock, slot, 1)
    assert [] == heard

    # when it is stopped
    os.kill(pid, signal.SIGSTOP)
    _let_pass(clock, slot, 20)

    # then it is killed, and nothing of it is left
    assert -signal.SIGKILL == _end(slot, wait_until, clock)
    assert [] == list((tmp_path / "workers").iterdir())
    lived_s = heard[-1].lived_s
    assert [
        WorkerKilled(slot=3, pid=pid, still_s=20),
        WorkerEnded(slot=3, reason=EndReason.NO_LIFE, code=-signal.SIGKILL, lived_s=lived_s),
    ] == heard


def test_a_process_that_never_shows_life_has_the_time_of_a_start(
    clock: Any, tmp_path: Path, wait_until: Wait
) -> None:
    heard: list[Event] = []
    slot = _slot(tmp_path, clock, _LIVES, heard)
    slot.tend()

    _let_pass(clock, slot, 59)
    assert [] == heard

    assert -signal.SIGKILL == _end(slot, wait_until, clock)


def test_the_back_off_doubles_up_to_half_a_minute(
    clock: Any, tmp_path: Path, wait_until: Wait
) -> None:
    # given a process that dies at once, every time
    slot = _slot(tmp_path, clock)
    waited: list[float] = []

    # when it is tended as soon as it is due, and in the end after a night of failures
    for number in range(8):
        slot._failures = 5000 if number == 7 else number
        slot.tend()
        assert 1 == _end(slot, wait_until)
        waited.append(slot._due_at - clock.now_s)
        clock.now_s = slot._due_at - 0.01
        slot.tend()
        assert slot._process is None
        clock.now_s = slot._due_at

    assert [1, 3, 7, 15, 30, 30, 30, 30] == waited


@pytest.mark.parametrize(
    ("code", "lived_s", "waits_s"),
    [(_BEATS, 11, 0), (_BEATS, 9, 30), (_LIVES, 11, 30)],
    ids=["lived", "died at once", "never showed life"],
)
def test_only_a_process_that_showed_life_and_lived_a_while_is_started_again_at_once(
    code: str, lived_s: float, waits_s: float, *, clock: Any, tmp_path: Path, wait_until: Wait
) -> None:
    # given one that failed before, and then ran for a while
    slot = _slot(tmp_path, clock, code)
    slot._failures = 4
    slot.tend()
    seen = code == _BEATS
    wait_until(lambda: slot.tend() is None and seen == slot._heartbeat.was_seen, LIMIT_S)
    clock.now_s += lived_s

    slot._process.kill()
    _end(slot, wait_until)

    assert waits_s == slot._due_at - clock.now_s


def test_a_sign_left_by_an_earlier_process_of_that_number_is_no_sign_of_life(
    clock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
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


def test_a_folder_named_worker_in_the_working_directory_is_not_imported(tmp_path: Path) -> None:
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
    supervise: Supervise,
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

    assert 2 == supervise(1, tells, tmp_path).wait(LIMIT_S)

    assert expected == (tmp_path / "told").read_text()
