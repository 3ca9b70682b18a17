"""A folder of photographs, from training to a job's results: the docs' section and the example."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fornada.local.stack import Stack
from fornada.storage.s3.store import S3ObjectStore
from model_store.store import ModelStore

from ...deployment import own_environ

_ROOT = Path(__file__).parents[3]
_FILES_EACH = 24
_ORIENTATION = 0x0112

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    data_dir = tmp_path_factory.mktemp("photographs")
    with Stack(data_dir=data_dir, workers=1, environ=own_environ()) as stack:
        yield stack


@pytest.fixture(scope="module")
def environ(stack: Stack) -> dict[str, str]:
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**own_environ(), **stack.environ, "PATH": programs}


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Spots and stripes in files of any size, format and orientation."""
    folder, rng = tmp_path_factory.mktemp("files") / "pets", np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(_FILES_EACH):
            height, width = rng.integers(180, 400, 2)
            rows, columns = np.mgrid[:height, :width]
            waves = np.sin(rows / 9) * (np.sin(columns / 9) if name == "cat" else 1)
            pixels = 128 + 80 * waves[..., np.newaxis] + rng.normal(0, 12, (height, width, 3))
            exif = Image.Exif()
            exif[_ORIENTATION] = int(rng.integers(1, 9))
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(folder / name / f"{number}.{('jpg', 'png')[number % 2]}", exif=exif)
    return folder


def _run(arguments: list[str], environ: dict[str, str], cwd: Path) -> str:
    run = subprocess.run(arguments, env=environ, cwd=cwd, capture_output=True, text=True)
    assert 0 == run.returncode, run.stderr
    return run.stdout


def test_a_job_of_the_training_files_is_as_right_as_the_training_was(
    stack: Stack, environ: dict[str, str], pets: Path, tmp_path: Path
) -> None:
    # given the docs' commands, and files that are no photographs
    text = (_ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    section = text.partition("## Your own photographs\n")[2].partition("\n## ")[0]
    commands = re.findall(r"^\$ (fornada .*)$", section, re.MULTILINE)
    assert 3 == len(commands)
    for split, files in (("train", range(6, _FILES_EACH)), ("test", range(6))):
        for name in ("cat", "dog"):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            for number in files:
                (file,) = (pets / name).glob(f"{number}.*")
                shutil.copy(file, tmp_path / "pets" / split / name)
    (tmp_path / "pets" / "test" / "cat" / "labels.csv").write_text("a,b")

    # when
    for command in commands:
        _run(["bash", "-ec", command], environ, tmp_path)

    # then
    models = ModelStore(objects=S3ObjectStore.from_settings(stack.settings))
    manifest = models.resolve("pets@prod")
    assert ("binary", [224, 224, 3]) == (manifest.output.kind, manifest.input.shape)
    with (tmp_path / "pets.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["item_id"].startswith("test/")]
    assert 12 == len(rows)
    right = [row["label"] == row["item_id"].split("/")[1] for row in rows]
    assert manifest.metrics["test_accuracy"] == pytest.approx(np.mean(right), abs=1e-6)


def test_the_example_trains_publishes_and_predicts_the_folder(
    stack: Stack, environ: dict[str, str], pets: Path, tmp_path: Path
) -> None:
    # when
    example = _ROOT / "examples" / "photographs.py"
    printed = _run([sys.executable, str(example), str(pets)], environ, tmp_path)

    # then
    models = ModelStore(objects=S3ObjectStore.from_settings(stack.settings))
    manifest = models.resolve("photos@prod")
    assert ["cat", "dog"] == manifest.output.classes
    assert f"published {manifest}: rgb like image_dataset_from_directory" in printed
    assert f"of {2 * _FILES_EACH} photographs right, such as ('cat/" in printed
    assert 2 == len(json.loads(models.fetch(manifest.files["history.json"]))["val_loss"])
