"""The benchmark of a GPU, with little work and on the CPU."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed"),
]


def _run(*options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["benchmarks/gpu.sh", "--only", "mlp", *options],
        cwd=_ROOT,
        env={**os.environ, "PYTHON": sys.executable, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_the_shares_of_the_limits_are_printed_and_recorded(tmp_path: Path) -> None:
    run = _run("--quick", "--output", str(tmp_path))

    assert not run.returncode, run.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())["workloads"]["mlp"]
    assert found["overlapped"] == min(found["engine_rate"], found["store_rate"])
    assert found["of_overlapped"] == found["rate"] / found["overlapped"] > 0
    assert "jax" in found["engine"]
    (row,) = [line for line in run.stdout.splitlines() if line.startswith("| 28x28 network")]
    assert f"{found['of_overlapped']:.0%} | {found['of_engine']:.0%} |" in row


def test_without_a_gpu_only_the_check_runs() -> None:
    run = _run()

    assert 1 == run.returncode
    assert "JAX finds no GPU here" in run.stderr
