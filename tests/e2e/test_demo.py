"""`fornada demo` goes from data set to picture, and leaves nothing running."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from fornada.local.ports import free_port

from ..faults.rig.processes import left_of

_SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "fashion-mnist-sample"
_PNG = b"\x89PNG\r\n\x1a\n"

# Five commands and two workers import TensorFlow.
pytestmark = pytest.mark.timeout(900)


@pytest.mark.slow
@pytest.mark.skipif(not _SAMPLE.exists(), reason="the Fashion-MNIST sample is not here")
def test_fashion_mnist_from_the_cache_goes_all_the_way(tmp_path: Path) -> None:
    shutil.copytree(_SAMPLE, tmp_path / "keras" / "datasets" / "fashion-mnist")

    done = _demo(tmp_path, "--json")

    assert 0 == done.returncode, done.stderr
    assert 1 == done.stdout.count("\n")
    report = json.loads(done.stdout)
    assert "fashion_mnist" == report["dataset"]
    assert "fashion-mnist:1" == report["model"]
    assert (120, 10) == (report["items"], report["shards"])
    assert report["items_per_s"] > 0
    assert 64 == len(report["model_digest"])
    # Guessing gives 0.1; there are only 480 images to learn from.
    assert report["accuracy"] > 0.3
    _check_artifacts(tmp_path, report)
    assert "$ fornada train --dataset fashion_mnist --name fashion-mnist" in done.stderr
    assert {} == left_of(tmp_path)


@pytest.mark.slow
def test_without_cache_and_network_it_goes_on_with_digits(tmp_path: Path) -> None:
    done = _demo(tmp_path, "--workers", "1")

    assert 0 == done.returncode, done.stderr
    lines = done.stdout.splitlines()
    assert 1 == len([line for line in lines if line.endswith("; continuing with digits")])
    commands = [line.split()[2] for line in lines if line.startswith("$ fornada ")]
    expected = ["dataset", "dataset", "train", "submit", "jobs", "evaluate", "jobs"]
    assert expected == commands
    found = {line.split()[0]: line for line in lines if line and not line.startswith("$")}
    assert {"accuracy", "speed", "model", "in", "job", "report", "picture", "look"} <= set(found)
    assert " on 360 test images" in found["accuracy"]
    assert "first enqueue to last durable outcome, 10 shards" in found["speed"]
    assert {} == left_of(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("jax") is None, reason="jax is not installed")
def test_all_of_it_runs_on_jax(tmp_path: Path) -> None:
    on_jax = {"KERAS_BACKEND": "jax", "FORNADA_ENGINE": "jax"}

    done = _demo(tmp_path, "--dataset", "digits", "--workers", "1", "--json", environ=on_jax)

    assert 0 == done.returncode, done.stderr
    report = json.loads(done.stdout)
    assert report["accuracy"] > 0.8
    bucket = tmp_path / "data" / "s3" / "fornada"
    manifest = json.loads((bucket / report["artifacts"]["model_manifest"]).read_bytes())
    assert {"fornada", "jax", "keras", "numpy"} == manifest["packages"].keys()
    records = (bucket / report["artifacts"]["job_end"]).parent.rglob("*.json")
    engine = f"jax {version('jax')} float32 cpu".encode()
    assert any(engine in record.read_bytes() for record in records)
    assert {} == left_of(tmp_path)


@pytest.mark.slow
def test_a_failure_in_the_middle_is_one_line_that_names_the_logs(tmp_path: Path) -> None:
    done = _demo(tmp_path, "--workers", "1", "--dataset", "fashion_mnist")

    assert 1 == done.returncode
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: `fornada dataset fashion_mnist --split test")
    assert str(tmp_path / "data" / "logs") in last
    assert "Traceback" not in done.stderr
    assert {} == left_of(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "children"),
    # Valkey, S3 and the workers' supervisor make three; a running command is the fourth.
    [(signal.SIGTERM, 3), (signal.SIGINT, 4)],
    ids=["SIGTERM while workers start", "SIGINT while a command runs"],
)
def test_an_interrupt_in_the_middle_leaves_nothing_running(
    tmp_path: Path, number: signal.Signals, children: int, wait_until: Callable[..., None]
) -> None:
    data = tmp_path / "data"
    with subprocess.Popen(
        _argv(tmp_path, "--dataset", "digits", "--workers", "1"),
        env=_environ(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: children == len(_recorded(data)), timeout_s=180)

        process.send_signal(number)
        _out, err = process.communicate(timeout=60)

    assert 130 == process.returncode
    assert "error: interrupted" == err.splitlines()[-1]
    assert "Traceback" not in err
    assert {} == left_of(tmp_path)


def _demo(
    folder: Path, *arguments: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _argv(folder, *arguments),
        env={**_environ(folder), **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )


def _argv(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "fornada", "demo", "--data", str(folder / "data"), *arguments]


def _environ(folder: Path) -> dict[str, str]:
    """Only what the test puts there is cached, and nothing can be downloaded."""
    return {
        **os.environ,
        "KERAS_HOME": str(folder / "keras"),
        "https_proxy": f"http://127.0.0.1:{free_port()}",
    }


def _check_artifacts(folder: Path, report: dict[str, object]) -> None:
    """Every artifact of the report exists; objects are files in the S3 server's folder."""
    artifacts = report["artifacts"]
    assert isinstance(artifacts, dict)
    bucket = folder / "data" / "s3" / "fornada"
    for name in ("model", "model_manifest", "job", "job_end"):
        assert (bucket / artifacts[name]).exists(), name
    assert Path(artifacts["predictions"]).read_bytes().startswith(_PNG)
    assert Path(artifacts["report"]).read_bytes().startswith(b"<!doctype html>")


def _recorded(data: Path) -> list[int]:
    try:
        record = json.loads((data / "processes.json").read_bytes())
    except FileNotFoundError:
        return []
    return [process["pid"] for process in record["processes"]]
