"""Signs of life, and what is made of their absence."""

import errno
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
from worker.host import health
from worker.host.health import HealthFile, HeartbeatReader, live_and_stale
from worker.host.identity import worker_name
from worker.host.watchdog import Activity, Watchdog


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


def test_a_beat_goes_on_where_there_is_no_room_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a disk that fills up after the first beat
    file = HealthFile(tmp_path, name="one")
    file.beat()
    _age(tmp_path, "one", 91)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", refuse)

    file.beat()

    assert (["one"], []) == live_and_stale(tmp_path)


def test_a_beat_makes_the_file_anew_when_somebody_cleaned_up(tmp_path: Path) -> None:
    file = HealthFile(tmp_path, name="one")
    file.beat()
    (tmp_path / "workers" / "one.json").unlink()
    (tmp_path / "workers").rmdir()

    file.beat()

    assert (["one"], []) == live_and_stale(tmp_path)


def test_removing_takes_it_away_also_twice(tmp_path: Path) -> None:
    file = HealthFile(tmp_path, name="one")
    file.beat()

    file.remove()
    file.remove()

    assert ([], []) == live_and_stale(tmp_path)


def test_a_disk_that_keeps_the_file_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    file = HealthFile(tmp_path, name="one")
    file.beat()
    monkeypatch.setattr(Path, "unlink", refuse)

    file.remove()

    assert (["one"], []) == live_and_stale(tmp_path)


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


class _Clock:
    """Seconds that the test lets pass."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class _Looks:
    """A look at another worker's sign of life every second."""

    def __init__(self, folder: Path) -> None:
        self.file = HealthFile(folder, name="other")
        self.clock = _Clock()
        self.pulse = HeartbeatReader(self.file, clock=self.clock)

    def go_on(self, seconds: int, *, beats: bool = False) -> None:
        for _ in range(seconds):
            self.clock.now_s += 1
            if beats:
                self.file.beat()
            self.pulse.look()


@pytest.fixture
def looks(tmp_path: Path) -> _Looks:
    return _Looks(tmp_path)


def test_without_a_sign_the_pulse_is_still_from_the_start(looks: _Looks) -> None:
    looks.go_on(5)

    assert (False, 5.0) == (looks.pulse.was_seen, looks.pulse.still_s)


def test_beats_are_a_pulse_and_their_absence_is_counted(looks: _Looks) -> None:
    looks.go_on(5, beats=True)
    assert (True, 0.0) == (looks.pulse.was_seen, looks.pulse.still_s)

    looks.go_on(7)
    assert (True, 7.0) == (looks.pulse.was_seen, looks.pulse.still_s)


def test_a_sign_that_was_taken_away_is_no_beat(looks: _Looks) -> None:
    looks.go_on(5, beats=True)
    looks.file.remove()

    looks.go_on(3)

    assert 3.0 == looks.pulse.still_s


def test_time_in_which_nobody_looked_is_not_held_against_the_other(looks: _Looks) -> None:
    # given a container that was paused for an hour, with all that is in it
    looks.go_on(5, beats=True)
    looks.clock.now_s += 3600

    looks.go_on(1)

    assert 1.0 == looks.pulse.still_s


def test_no_wall_clock_makes_a_beat_old(looks: _Looks, tmp_path: Path) -> None:
    looks.go_on(1, beats=True)
    _age(tmp_path, "other", 3600)

    looks.go_on(1)

    assert 0.0 == looks.pulse.still_s


class _World:
    """A watchdog, what it sees, and what it did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = _Clock()
        self.activity = Activity()
        self.queued: int | None = 0
        self.ended = 0
        self.watchdog = Watchdog(
            file=HealthFile(folder, name="one"),
            activity=self.activity,
            queue_length=lambda: self.queued,
            end_process=self._end,
            clock=self.clock,
        )

    def _end(self) -> None:
        self.ended += 1

    def go_on(
        self, seconds: int, *, turns: bool = True, each_s: Callable[[], object] | None = None
    ) -> None:
        """Let seconds pass, and look in each, while the event loop turns or does not."""
        for _ in range(seconds):
            self.clock.now_s += 1
            if turns:
                self.watchdog.beat()
            if each_s is not None:
                each_s()
            self.watchdog.check()


@pytest.fixture
def world(tmp_path: Path) -> _World:
    return _World(tmp_path)


def test_a_loop_that_turns_on_an_empty_queue_is_left_alone(world: _World) -> None:
    world.go_on(200)

    assert 0 == world.ended


def test_a_loop_that_stands_still_ends_the_process(world: _World) -> None:
    world.go_on(59, turns=False)
    assert 0 == world.ended

    world.go_on(1, turns=False)
    assert 1 == world.ended


def test_while_the_broker_is_away_there_is_nothing_to_mend(world: _World) -> None:
    world.queued = None

    world.go_on(200, turns=False)

    assert 0 == world.ended
    assert (["one"], []) == live_and_stale(world.folder)


def test_after_the_broker_is_back_the_loop_has_its_minute(world: _World) -> None:
    # given a broker that was away while the loop stood still
    world.queued = None
    world.go_on(200, turns=False)

    world.queued = 7
    world.go_on(59, turns=False)
    assert 0 == world.ended

    world.go_on(1, turns=False)
    assert 1 == world.ended


def test_a_worker_that_is_to_stop_may_take_its_time(world: _World) -> None:
    world.queued = 7
    world.watchdog.expect_stop()

    world.go_on(200, turns=False)

    assert 0 == world.ended
    assert (["one"], []) == live_and_stale(world.folder)


def test_a_consumer_that_takes_nothing_from_a_full_queue_ends_the_process(world: _World) -> None:
    # given a loop that turns
    world.queued = 7

    world.go_on(59)
    assert 0 == world.ended

    world.go_on(1)
    assert 1 == world.ended


def test_the_minute_begins_when_there_is_something_to_take(world: _World) -> None:
    world.go_on(200)
    world.queued = 1

    world.go_on(59)

    assert 0 == world.ended


def test_a_queue_that_is_empty_at_one_look_is_served_by_somebody(world: _World) -> None:
    world.queued = 7
    world.go_on(59)
    world.queued = 0
    world.go_on(1)
    world.queued = 7

    world.go_on(59)

    assert 0 == world.ended


def test_messages_that_are_taken_are_progress_also_if_they_start_nothing(world: _World) -> None:
    # given a queue full of messages of another kind
    world.queued = 7

    world.go_on(200, each_s=world.activity.take)

    assert 0 == world.ended


def test_a_shard_at_work_is_left_to_its_deadline(world: _World) -> None:
    world.queued = 7

    with world.activity.running():
        world.go_on(200)
    assert 0 == world.ended

    world.go_on(60)
    assert 1 == world.ended


def test_a_broker_that_is_away_for_a_look_is_no_starving(world: _World) -> None:
    world.queued = 7
    world.go_on(59)
    world.queued = None
    world.go_on(1)
    world.queued = 7

    world.go_on(59)

    assert 0 == world.ended


def test_a_disk_that_refuses_the_file_is_no_reason_to_end(
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
