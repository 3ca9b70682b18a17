"""`fornada up`, as a user meets it: in a terminal of its own."""

import contextlib
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore


def test_it_prints_what_another_terminal_needs(tmp_path: Path) -> None:
    with _up(tmp_path) as (process, settings):
        store = S3ObjectStore.from_settings(settings)

        store.put("jobs/j/manifest.json", b"{}")

        assert b"{}" == store.get("jobs/j/manifest.json").data
        assert process.poll() is None


def test_the_file_to_source_has_the_same_and_is_private(tmp_path: Path) -> None:
    with _up(tmp_path) as (_process, settings):
        sourced = subprocess.run(
            ["sh", "-c", f". {shlex.quote(str(tmp_path / 'env'))}; env"],
            env={},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    variables = dict(line.split("=", 1) for line in sourced.splitlines())
    assert settings == Settings.from_env(variables)
    assert 0o600 == stat.S_IMODE((tmp_path / "env").stat().st_mode)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with _up(tmp_path) as (process, _settings):
        pids = _pids(tmp_path)

        process.send_signal(number)
        _out, err = process.communicate(timeout=30)

    assert 0 == process.returncode, err
    assert err.endswith("stopped\n")
    assert 2 == len(pids)
    assert not any(_exists(pid) for pid in pids)
    assert [] == _pids(tmp_path)


def test_data_survives_a_restart_and_exported_lines_stay_valid(tmp_path: Path) -> None:
    with _up(tmp_path) as (_process, settings):
        S3ObjectStore.from_settings(settings).put("models/m/1/manifest.json", b"{}")

    with _up(tmp_path) as (_process, again):
        kept = S3ObjectStore.from_settings(settings).get("models/m/1/manifest.json").data

    assert settings == again
    assert b"{}" == kept


def test_a_second_one_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with _up(tmp_path) as (process, _settings):
        second = subprocess.run(
            [*_COMMAND, "--data", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

        assert 1 == second.returncode
        assert "" == second.stdout
        last = second.stderr.splitlines()[-1]
        assert last.startswith(f"error: {tmp_path} is in use by another")
        assert "Traceback" not in second.stderr
        assert process.poll() is None


def test_when_a_server_dies_it_says_so_and_stops(tmp_path: Path) -> None:
    with _up(tmp_path) as (process, _settings):
        pids = _pids(tmp_path)
        os.kill(pids[0], signal.SIGKILL)
        _out, err = process.communicate(timeout=30)

    assert 1 == process.returncode
    assert "error: Valkey ended with code -9" in err
    assert not any(_exists(pid) for pid in pids)


_COMMAND = [sys.executable, "-m", "fornada", "up", "--workers", "0"]


@contextlib.contextmanager
def _up(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Settings]]:
    """`fornada up` without workers, once it has printed its settings; ended with SIGINT."""
    with subprocess.Popen(
        [*_COMMAND, "--data", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(6)]
            assert all(line.startswith("export FORNADA_") for line in lines), lines
            words = [shlex.split(line)[1].split("=", 1) for line in lines]
            yield process, Settings.from_env(dict(words))
        finally:
            process.send_signal(signal.SIGINT)


def _pids(folder: Path) -> list[int]:
    record = json.loads((folder / "processes.json").read_bytes())
    return [process["pid"] for process in record["processes"]]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
