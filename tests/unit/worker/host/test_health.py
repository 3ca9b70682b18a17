"""Heartbeats, and what follows from their absence."""

import errno
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fornada.errors import LocalDiskError
from worker.host import health
from worker.host.health import HealthFile, HeartbeatReader, live_and_stale, worker_name
from worker.host.watchdog import Activity, Watchdog


def _age(folder: Path, name: str, age_s: float) -> None:
    path = folder / "workers" / f"{name}.json"
    os.utime(path, (time.time() - age_s, time.time() - age_s))


def test_a_heartbeat_is_a_file_that_names_worker_and_process(tmp_path: Path) -> None:
    HealthFile(tmp_path, name="host.example-7").beat()

    sign = json.loads((tmp_path / "workers" / "host.example-7.json").read_text())
    assert ("host.example-7", os.getpid()) == (sign["worker"], sign["pid"])
    assert ["host.example-7.json"] == [path.name for path in (tmp_path / "workers").iterdir()]


def test_a_heartbeat_works_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a disk that fills up after the first beat
    file = HealthFile(tmp_path, name="one")
    file.beat()
    _age(tmp_path, "one", 91)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", refuse)

    file.beat()

    assert (["one"], []) == live_and_stale(tmp_path)


def test_a_heartbeat_recreates_a_removed_file(tmp_path: Path) -> None:
    file = HealthFile(tmp_path, name="one")
    file.beat()
    (tmp_path / "workers" / "one.json").unlink()
    (tmp_path / "workers").rmdir()

    file.beat()

    assert (["one"], []) == live_and_stale(tmp_path)


def test_a_removal_that_fails_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = HealthFile(tmp_path, name="one")
    file.beat()

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as read_only:
        read_only.setattr(Path, "unlink", refuse)
        file.remove()
        assert (["one"], []) == live_and_stale(tmp_path)

    for _ in range(2):
        file.remove()
        assert ([], []) == live_and_stale(tmp_path)


def test_a_folder_that_cannot_be_written_is_a_local_disk_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(LocalDiskError, match="FORNADA_CACHE_DIR"):
        HealthFile(tmp_path / "file", name="one").beat()


def test_old_files_are_stale_unless_their_worker_was_killed(tmp_path: Path) -> None:
    # given fresh and old files of workers elsewhere, of one here that hangs, and of one that ended
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    process.wait()
    killed = f"{socket.gethostname()}-{process.pid}"
    for name in ("fresh-1", "old-1", worker_name(), killed):
        HealthFile(tmp_path, name=name).beat()
    for name in ("old-1", worker_name(), killed):
        _age(tmp_path, name, 91)

    live, stale = live_and_stale(tmp_path)

    assert (["fresh-1"], {"old-1", worker_name()}) == (live, set(stale))
    assert not (tmp_path / "workers" / f"{killed}.json").exists()
    assert ([], []) == live_and_stale(tmp_path / "none")


class _Looks:
    """Looks at another worker's heartbeats every second."""

    def __init__(self, folder: Path, clock: Any) -> None:
        self.file = HealthFile(folder, name="other")
        self.clock = clock
        self.heartbeats = HeartbeatReader(self.file, clock=self.clock)

    def go_on(self, seconds: int, *, beats: bool = False) -> None:
        for _ in range(seconds):
            self.clock.now_s += 1
            if beats:
                self.file.beat()
            self.heartbeats.look()


@pytest.fixture
def looks(tmp_path: Path, clock: Any) -> _Looks:
    return _Looks(tmp_path, clock)


def test_time_without_life_runs_from_the_start_and_from_each_heartbeat(looks: _Looks) -> None:
    found = looks.heartbeats
    looks.go_on(5)
    assert (False, 5.0) == (found.was_seen, found.still_s)

    looks.go_on(5, beats=True)
    assert (True, 0.0) == (found.was_seen, found.still_s)

    # and a removed file is no heartbeat
    looks.go_on(7)
    looks.file.remove()
    looks.go_on(3)
    assert (True, 10.0) == (found.was_seen, found.still_s)


def test_time_between_looks_counts_for_little(looks: _Looks) -> None:
    # given a container that was paused for an hour
    looks.go_on(5, beats=True)
    looks.clock.now_s += 3600

    looks.go_on(1)

    assert 1.0 == looks.heartbeats.still_s


def test_a_changed_wall_clock_does_not_age_a_heartbeat(looks: _Looks, tmp_path: Path) -> None:
    looks.go_on(1, beats=True)
    _age(tmp_path, "other", 3600)

    looks.go_on(1)

    assert 0.0 == looks.heartbeats.still_s


class _World:
    """A watchdog, what it sees, and what it does."""

    def __init__(self, folder: Path, clock: Any) -> None:
        self.folder = folder
        self.clock = clock
        self.activity = Activity()
        self.queued: int | None = 0
        self.ended = 0
        self.rested: list[int] = []
        self.watchdog = Watchdog(
            file=HealthFile(folder, name="one"),
            activity=self.activity,
            queue_length=lambda: self.queued,
            end_process=self._end,
            on_idle=lambda: self.rested.append(self.activity.taken_count),
            clock=self.clock,
        )

    def _end(self) -> None:
        self.ended += 1

    def go_on(
        self, seconds: int, *, turns: bool = True, each_s: Callable[[], object] = lambda: None
    ) -> None:
        """Let seconds pass with a check in each, while the event loop turns or stands still."""
        for _ in range(seconds):
            self.clock.now_s += 1
            if turns:
                self.watchdog.beat()
            each_s()
            self.watchdog.check()

    def end_in(self, seconds: int, *, turns: bool = True) -> bool:
        """Whether the process is ended in that second, and not before."""
        self.go_on(seconds - 1, turns=turns)
        ended_before = self.ended
        self.go_on(1, turns=turns)
        return (ended_before, self.ended) == (0, 1)


@pytest.fixture
def world(tmp_path: Path, clock: Any) -> _World:
    return _World(tmp_path, clock)


def test_a_loop_that_stands_still_ends_the_process(world: _World) -> None:
    assert world.end_in(60, turns=False)


def test_without_a_broker_the_process_counts_as_live(world: _World) -> None:
    world.queued = None

    world.go_on(200, turns=False)

    assert 0 == world.ended
    assert (["one"], []) == live_and_stale(world.folder)
    # and the minute starts again when the broker returns
    world.queued = 7
    assert world.end_in(60, turns=False)


def test_a_worker_that_is_to_stop_may_take_its_time(world: _World) -> None:
    world.queued = 7
    world.watchdog.expect_stop()

    world.go_on(200, turns=False)

    assert 0 == world.ended
    assert (["one"], []) == live_and_stale(world.folder)


def test_a_consumer_that_takes_nothing_from_a_full_queue_ends_the_process(world: _World) -> None:
    world.queued = 7

    assert world.end_in(60)


def test_the_minute_begins_when_there_is_something_to_take(world: _World) -> None:
    world.go_on(200)
    world.queued = 1

    assert world.end_in(60)


@pytest.mark.parametrize("seen", [0, None], ids=["an empty queue", "no broker"])
def test_a_look_that_sees_nothing_to_take_starts_the_minute_again(
    world: _World, seen: int | None
) -> None:
    for world.queued, seconds in ((7, 59), (seen, 1), (7, 59)):
        world.go_on(seconds)

    assert 0 == world.ended


def test_taken_messages_are_progress_even_if_dropped(world: _World) -> None:
    # given a queue full of foreign messages
    world.queued = 7

    world.go_on(200, each_s=world.activity.take)

    assert 0 == world.ended


def test_a_shard_at_work_is_left_to_its_deadline(world: _World) -> None:
    world.queued = 7

    with world.activity.running():
        world.go_on(200)

    assert world.end_in(60)


def test_a_disk_that_refuses_the_file_does_not_end_the_process(
    world: _World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: HealthFile) -> None:
        raise LocalDiskError("full")

    monkeypatch.setattr(HealthFile, "beat", refuse)

    world.go_on(200)

    assert 0 == world.ended


def test_the_thread_checks_until_it_is_stopped(
    world: _World, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    monkeypatch.setattr(health, "BEAT_INTERVAL_S", 0.01)
    world.watchdog.beat()
    world.clock.now_s += 61

    world.watchdog.start()
    wait_until(lambda: world.ended)
    world.watchdog.stop()

    assert not world.watchdog._thread.is_alive()
    assert ([], []) == live_and_stale(world.folder)


def test_a_process_rests_once_after_each_time_of_work(world: _World) -> None:
    # given a look at nothing yet, at a message, at a shard at work, and three times at nothing
    world.watchdog.rest()
    world.activity.take()
    world.watchdog.rest()
    with world.activity.running():
        world.watchdog.rest()
    for _ in range(3):
        world.watchdog.rest()
    assert [1] == world.rested

    # when more comes, then it rests again
    world.activity.take()
    for _ in range(3):
        world.watchdog.rest()
    assert [1, 2] == world.rested
