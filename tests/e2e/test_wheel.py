"""The wheel, and its base install in a clean environment, as in another service."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from model_store.store import ModelStore

from ..deployment import publish_unloadable

_ROOT = Path(__file__).parent.parent.parent
_SUBMIT = """
import importlib.util, json
import numpy as np
from producer import Client

frameworks = ("tensorflow", "keras", "PIL", "matplotlib")
heavy = [name for name in frameworks if importlib.util.find_spec(name)]
images = np.zeros((5, 4, 4), np.uint8)
job = Client.from_env().submit(images, model="tiny@prod", items_per_shard=2)
print(json.dumps({"heavy": heavy, "state": job.status().state, "shards": job.status().shards}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, _ROOT],
        check=True,
        capture_output=True,
    )
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def clean_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with only the wheel's base install."""
    folder = tmp_path_factory.mktemp("clean")
    uv = Path(sys.executable).with_name("uv")
    python = folder / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    subprocess.run(
        [uv, "pip", "install", "-q", "-p", python, "-c", _ROOT / "requirements.lock", wheel],
        check=True,
        cwd=folder,
    )
    return python


def test_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    # When
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    # Then
    packages = {"fornada", "gateway", "model_store", "producer", "trainer", "worker"}
    assert packages == {top for top in tops if not top.endswith(".dist-info")}


def test_base_install_submits_a_job_without_any_framework(
    clean_python: Path, environ: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    # Given
    _publish_tiny_model(settings)

    # When
    run = subprocess.run(
        [clean_python, "-c", _SUBMIT],
        env=_without_our_packages(environ),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    # Then
    assert "" == run.stderr
    assert {"heavy": [], "state": "QUEUED", "shards": 3} == json.loads(run.stdout)


@pytest.mark.parametrize("command", ["train", "worker"])
def test_base_install_names_the_extra_that_a_command_needs(
    command: str, clean_python: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    # Given
    arguments = {"train": ["train", "--dataset", "digits", "--name", "x"], "worker": ["worker"]}

    # When
    run = subprocess.run(
        [clean_python, "-m", "fornada", *arguments[command]],
        env=_without_our_packages(environ),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    # Then
    assert 2 == run.returncode
    assert run.stderr.startswith("error: ")
    assert f"pip install 'fornada[{command}]'" in run.stderr
    assert "Traceback" not in run.stderr


def _without_our_packages(environ: dict[str, str]) -> dict[str, str]:
    kept = {k: v for k, v in environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return {**kept, "PATH": os.defpath}


def _publish_tiny_model(settings: Settings) -> None:
    objects = S3ObjectStore.from_settings(settings)
    publish_unloadable(objects, "tiny", item_shape=[4, 4], classes=["a", "b"])
    ModelStore(objects=objects).promote("tiny", 1, "prod")
