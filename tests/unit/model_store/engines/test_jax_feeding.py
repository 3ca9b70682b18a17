"""Calls of a device that are transferred in parts, on JAX, in another process."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[4]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_parts_of_a_tile_change_no_byte_and_what_only_fills_it_is_not_transferred() -> None:
    run = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name("jax_feeding.py"))],
        env={**os.environ, "PYTHONPATH": str(_ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert not run.returncode, run.stderr

    assert {
        "bytes": True,
        "identity": True,
        "rows": [8, 16, 64],
        "indices": "an index is outside of its table, as a token without an embedding",
        "errors": ["DeviceMemoryError", "JaxRuntimeError", "DeviceLostError"],
        "parts": [4096, 4000, 4096, 1],
    } == json.loads(run.stdout)
