"""The embedded stack: data that stays, one stack a folder, and nothing left running."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis

from fornada.errors import ConfigError, LocalDiskError, StackError
from fornada.local.ports import HOST
from fornada.local.stack import Stack
from fornada.storage.s3.store import S3ObjectStore

#: Is killed without a chance to end anything.
_HOLD = """
import sys, threading
from pathlib import Path
from fornada.local.stack import Stack
with Stack(data_dir=Path(sys.argv[1])):
    print("up", flush=True)
    threading.Event().wait()
"""


def test_data_and_ports_are_kept_and_every_child_ends(tmp_path: Path) -> None:
    with Stack(data_dir=tmp_path) as stack:
        before, pids = stack.environ, _pids(tmp_path)
        S3ObjectStore.from_settings(stack.settings).put("jobs/j/manifest.json", b"{}")
        with _client(stack) as client:
            client.set("k", "v")
    assert 2 == len(pids)
    assert not any(_lives(pid) for pid in pids)

    with Stack(data_dir=tmp_path) as stack:
        stored = S3ObjectStore.from_settings(stack.settings).get("jobs/j/manifest.json").data
        with _client(stack) as client:
            held = client.get("k")

        with pytest.raises(StackError, match="in use by another embedded stack"):
            Stack(data_dir=tmp_path).__enter__()
        stack.check()
    assert before == stack.environ
    assert (b"{}", b"v") == (stored, held)

    endpoint = before["FORNADA_S3_ENDPOINT_URL"]
    port = int(endpoint.rpartition(":")[2])
    with socket.create_server((HOST, port)), Stack(data_dir=tmp_path) as stack:
        # Whoever took the port meanwhile keeps it.
        assert endpoint != stack.environ["FORNADA_S3_ENDPOINT_URL"]


def test_an_error_in_the_middle_ends_every_child(tmp_path: Path) -> None:
    pids: list[int] = []

    def fail() -> None:
        with Stack(data_dir=tmp_path):
            pids.extend(_pids(tmp_path))
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        fail()

    assert 2 == len(pids)
    assert not any(_lives(pid) for pid in pids)


def test_workers_that_cannot_start_are_an_error_with_their_log(tmp_path: Path) -> None:
    environ = {**os.environ, "FORNADA_CACHE_DIR": "/ignored", "PYTHONHOME": str(tmp_path)}

    with pytest.raises(StackError, match=r"(?s)fornada worker.*workers\.log"):
        Stack(data_dir=tmp_path / "data", workers=1, environ=environ).__enter__()

    assert [] == _pids(tmp_path / "data")


def test_a_wrong_setting_of_the_users_own_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="FORNADA_MAX_BATCHSIZE"):
        Stack(data_dir=tmp_path, environ={"FORNADA_MAX_BATCHSIZE": "1"}).__enter__()

    assert [] == _pids(tmp_path)


def test_settings_of_the_users_own_reach_the_stack_but_never_lead_elsewhere(
    tmp_path: Path,
) -> None:
    environ = {"FORNADA_MAX_BATCH_SIZE": "64", "FORNADA_S3_ENDPOINT_URL": "http://production"}

    with Stack(data_dir=tmp_path, environ=environ) as stack:
        assert 64 == stack.settings.max_batch_size
        assert f"http://{HOST}" in str(stack.settings.s3_endpoint_url)


def test_a_part_that_dies_is_noticed(tmp_path: Path, wait_until: Callable[..., None]) -> None:
    def noticed(stack: Stack) -> bool:
        try:
            stack.check()
        except StackError as exc:
            return "Valkey ended" in str(exc)
        return False

    with Stack(data_dir=tmp_path) as stack:
        os.kill(_pids(tmp_path)[0], signal.SIGKILL)

        wait_until(lambda: noticed(stack))


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(LocalDiskError, match="--data"):
        Stack(data_dir=tmp_path / "file" / "data").__enter__()


def test_when_the_parent_is_killed_nothing_stays(
    tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    with _holder(tmp_path) as parent:
        pids = _pids(tmp_path)
        parent.kill()

    assert 2 == len(pids)
    wait_until(lambda: not any(_lives(pid) for pid in pids), timeout_s=20)


@pytest.mark.slow
def test_when_the_watchdog_was_killed_too_the_next_start_ends_what_was_left(
    tmp_path: Path,
) -> None:
    with _holder(tmp_path) as parent:
        left = _pids(tmp_path)
        os.kill(_watchdog_of(parent.pid), signal.SIGKILL)
        parent.kill()
    assert all(_lives(pid) for pid in left)

    with Stack(data_dir=tmp_path) as stack:
        stack.check()

        assert 2 == len(left)
        assert not any(_lives(pid) for pid in left)


def _holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "up\n" == process.stdout.readline()
    return process


def _client(stack: Stack) -> redis.Redis:
    return redis.Redis.from_url(stack.settings.redis_url.get_secret_value())


def _pids(folder: Path) -> list[int]:
    record = folder / "processes.json"
    if not record.exists():
        return []
    return [process["pid"] for process in json.loads(record.read_bytes())["processes"]]


def _lives(pid: int) -> bool:
    try:
        # A zombie waits only for its parent to notice.
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _watchdog_of(parent: int) -> int:
    for child in psutil.Process(parent).children():
        if "watchdog" in " ".join(child.cmdline()):
            return int(child.pid)
    raise AssertionError("no watchdog")
