"""`fornada up` as a user runs it."""

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

import psutil
import pytest
import urllib3

from fornada.settings import Settings
from fornada.storage.opening import open_store


def test_another_terminal_gets_what_it_needs_and_a_second_stack_is_refused(tmp_path: Path) -> None:
    with _up(tmp_path) as (process, settings):
        store = open_store(settings)
        store.put("jobs/j/manifest.json", b"{}")
        second = subprocess.run(
            [*_COMMAND, "--data", str(tmp_path)], capture_output=True, text=True, timeout=30
        )

        assert b"{}" == store.get("jobs/j/manifest.json").data
        assert process.poll() is None
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
    assert (1, "") == (second.returncode, second.stdout)
    last = second.stderr.splitlines()[-1]
    assert last.startswith(f"error: {tmp_path} is in use by another")
    assert "Traceback" not in second.stderr


def test_its_gateway_serves_whoever_sends_the_exported_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORNADA_METRICS_PORT", "0")
    with _up(tmp_path) as (process, settings):
        assert process.stderr is not None
        said = next(line for line in process.stderr if line.startswith("gateway and console: "))
        key = settings.api_key
        assert key is not None

        def status(path: str, token: str) -> int:
            url = said.removeprefix("gateway and console: ").partition(",")[0] + path
            headers = {"Authorization": f"Bearer {token}"}
            return urllib3.request("GET", url, headers=headers, retries=False).status

        assert (200, 401) == (
            status("/v1/models", key.get_secret_value()),
            status("/v1/models", "x" * 64),
        )
        assert (200, 401) == (
            status("/metrics", key.get_secret_value()),
            status("/metrics", "x" * 64),
        )


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_a_signal_stops_everything_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with _up(tmp_path) as (process, _settings):
        pids = _pids(tmp_path)

        process.send_signal(number)
        _out, err = process.communicate(timeout=30)

    assert 0 == process.returncode, err
    assert err.endswith("stopped\n")
    assert 3 == len(pids)
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert [] == _pids(tmp_path)


def test_when_a_server_dies_it_says_so_and_stops(tmp_path: Path) -> None:
    with _up(tmp_path) as (process, _settings):
        pids = _pids(tmp_path)
        os.kill(pids[0], signal.SIGKILL)
        _out, err = process.communicate(timeout=30)

    assert 1 == process.returncode
    assert "error: Valkey ended with code -9" in err
    assert not any(psutil.pid_exists(pid) for pid in pids)


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
            lines = [process.stdout.readline() for _ in range(8)]
            assert all(line.startswith("export FORNADA_") for line in lines), lines
            words = [shlex.split(line)[1].split("=", 1) for line in lines]
            yield process, Settings.from_env(dict(words))
        finally:
            process.send_signal(signal.SIGINT)


def _pids(folder: Path) -> list[int]:
    record = json.loads((folder / "processes.json").read_bytes())
    return [process["pid"] for process in record["processes"]]
