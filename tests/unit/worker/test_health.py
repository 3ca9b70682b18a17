"""Signs of life, and what is made of their absence."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fornada.errors import LocalDiskError
from worker import health
from worker.health import HealthFile, Watchdog, live_and_stale, worker_name


def _age(folder: Path, name: str, age_s: float) -> None:
    path = folder / "workers" / f"{name}.json"
    os.utime(path, (time.time() - age_s, time.time() - age_s))


@pytest.fixture
def dead_name() -> str:
    """The name of a worker on this machine that runs no more."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    process.wait()
    return f"{socket.gethostname()}-{process.pid}"


def test_a_beat_is_a_file_that_names_worker_and_process(tmp_path: Path) -> None:
    HealthFile(tmp_path, name="host.example-7").beat()

    sign = json.loads((tmp_path / "workers" / "host.example-7.json").read_text())
    assert ("host.example-7", os.getpid()) == (sign["worker"], sign["pid"])
    assert ["host.example-7.json"] == [path.name for path in (tmp_path / "workers").iterdir()]


def test_removing_takes_it_away_also_twice(tmp_path: Path) -> None:
    file = HealthFile(tmp_path, name="one")
    file.beat()

    file.remove()
    file.remove()

    assert ([], []) == live_and_stale(tmp_path)


def test_a_folder_that_cannot_be_written_is_a_local_disk_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(LocalDiskError, match="FORNADA_CACHE_DIR"):
        HealthFile(tmp_path / "file", name="one").beat()


def test_fresh_files_are_live_and_old_ones_stale(tmp_path: Path) -> None:
    for name in ("fresh-1", "old-1"):
        HealthFile(tmp_path, name=name).beat()
    _age(tmp_path, "old-1", 91)

    assert (["fresh-1"], ["old-1"]) == live_and_stale(tmp_path)


def test_a_worker_that_hangs_is_stale(tmp_path: Path) -> None:
    HealthFile(tmp_path, name=worker_name()).beat()
    _age(tmp_path, worker_name(), 91)

    assert ([], [worker_name()]) == live_and_stale(tmp_path)


def test_a_killed_worker_is_not_held_against_its_successor(tmp_path: Path, dead_name: str) -> None:
    # given a worker that was killed, and the one that was started in its place
    for name in (dead_name, "successor-1"):
        HealthFile(tmp_path, name=name).beat()
    _age(tmp_path, dead_name, 91)

    assert (["successor-1"], []) == live_and_stale(tmp_path)
    assert ["successor-1.json"] == [path.name for path in (tmp_path / "workers").iterdir()]


def test_no_folder_is_nobody(tmp_path: Path) -> None:
    assert ([], []) == live_and_stale(tmp_path / "none")


class _World:
    """A watchdog, and what it did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker_answers = True
        self.ended = 0
        self.watchdog = Watchdog(
            file=HealthFile(folder, name="one"),
            broker_answers=lambda: self.broker_answers,
            end_process=self._end,
        )

    def _end(self) -> None:
        self.ended += 1

    def last_beat_was(self, age_s: float) -> None:
        self.watchdog._last_beat = time.monotonic() - age_s


@pytest.fixture
def world(tmp_path: Path) -> _World:
    return _World(tmp_path)


def test_a_loop_that_turns_is_left_alone(world: _World) -> None:
    world.last_beat_was(59)

    world.watchdog.check()

    assert 0 == world.ended


def test_a_loop_that_stands_still_ends_the_process(world: _World) -> None:
    world.last_beat_was(61)

    world.watchdog.check()

    assert 1 == world.ended


def test_while_the_broker_is_away_there_is_nothing_to_mend(world: _World) -> None:
    world.last_beat_was(61)
    world.broker_answers = False

    world.watchdog.check()

    assert 0 == world.ended
    assert (["one"], []) == live_and_stale(world.folder)


def test_after_the_broker_is_back_the_loop_has_its_minute(world: _World) -> None:
    # given a broker that was away while the loop stood still
    world.last_beat_was(61)
    world.broker_answers = False
    world.watchdog.check()
    world.broker_answers = True

    world.watchdog.check()
    assert 0 == world.ended

    world.last_beat_was(61)
    world.watchdog.check()
    assert 1 == world.ended


def test_a_worker_that_is_to_stop_may_take_its_time(world: _World) -> None:
    world.last_beat_was(61)
    world.watchdog.expect_stop()

    world.watchdog.check()

    assert 0 == world.ended
    assert (["one"], []) == live_and_stale(world.folder)


def test_a_disk_that_refuses_the_file_is_no_reason_to_end(
    world: _World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: HealthFile) -> None:
        raise LocalDiskError("full")

    monkeypatch.setattr(HealthFile, "beat", refuse)
    world.last_beat_was(61)

    world.watchdog.beat()
    world.watchdog.check()

    assert 0 == world.ended


def test_the_thread_checks_until_it_is_stopped(
    world: _World, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    monkeypatch.setattr(health, "BEAT_INTERVAL_S", 0.01)
    world.watchdog.beat()
    world.last_beat_was(61)

    world.watchdog.start()
    wait_until(lambda: world.ended)
    world.watchdog.stop()

    assert not world.watchdog._thread.is_alive()
    assert ([], []) == live_and_stale(world.folder)
