"""Injected fault points act only when armed, and leave other startup code alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .rig.fault_control import FaultControl

_LOAD_ALL = """
import importlib, fault_points
for module in fault_points._PATCHES:
    importlib.import_module(module)
print(len(fault_points._PATCHES))
"""
_COMMIT = "from fornada.jobs.store import JobStore; JobStore(objects=None).commit(None)"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes kill themselves")


def test_only_an_armed_point_kills_and_only_once(tmp_path: Path) -> None:
    # given
    faults = FaultControl(tmp_path / "control")
    environ = {**os.environ, **faults.environ}
    command = [sys.executable, "-P", "-c", _COMMIT]

    # when
    faults.arm("before-commit")
    codes = [
        subprocess.run(command, env=environ, stderr=subprocess.DEVNULL).returncode for _ in range(2)
    ]

    # then: the second fails on its arguments
    assert [-signal.SIGKILL, 1] == codes
    assert 1 == faults.kills("before-commit", process=_COMMIT)


def test_it_hides_no_other_sitecustomize_and_is_still_where_no_folder_is_named(
    tmp_path: Path,
) -> None:
    # given
    faults = FaultControl(tmp_path / "control")
    (tmp_path / "sitecustomize.py").write_text("print('the other one ran')")
    path = os.pathsep.join([faults.environ["PYTHONPATH"], str(tmp_path)])
    command = [sys.executable, "-c", "import sys; print('fault_points' in sys.modules)"]

    # when
    outputs = [
        subprocess.run(
            command, env={**os.environ, "PYTHONPATH": path, **more}, stdout=subprocess.PIPE
        ).stdout.decode()
        for more in ({}, {"FAULT_POINTS_DIR": str(tmp_path / "control")})
    ]

    # then
    assert ["the other one ran\nFalse\n", "the other one ran\nTrue\n"] == outputs


def test_every_point_fits_the_code(tmp_path: Path) -> None:
    # given a process whose modules are patched as they are imported
    faults = FaultControl(tmp_path / "control")

    done = subprocess.run(
        [sys.executable, "-P", "-c", _LOAD_ALL],
        env={**os.environ, **faults.environ},
        capture_output=True,
        text=True,
    )

    assert (0, True) == (done.returncode, int(done.stdout or 0) > 0), done.stderr[-2000:]
