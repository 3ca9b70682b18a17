"""A Keras course's script with one line more runs from training to results, and so its notebook."""

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fornada.formats.npy import from_npy
from fornada.local.stack import Stack
from fornada.storage.s3.store import S3ObjectStore
from model_store.store import ModelStore

from ..deployment import own_environ

_EXAMPLES = Path(__file__).parents[2] / "examples"
_SCRIPT, _NOTEBOOK = _EXAMPLES / "fashion_mnist.py", _EXAMPLES / "fashion_mnist.ipynb"
_TRAIN_ITEMS, _TEST_ITEMS = 400, 40


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    data_dir = tmp_path_factory.mktemp("script")
    with Stack(data_dir=data_dir, workers=1, environ=own_environ()) as stack:
        yield stack


@pytest.fixture(scope="module")
def environ(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The stack's, and a Keras cache with made-up images in place of Fashion-MNIST's."""
    home = tmp_path_factory.mktemp("keras")
    folder = home / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in (("train", _TRAIN_ITEMS), ("t10k", _TEST_ITEMS)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = rng.integers(0, 60, (count, 28, 28), np.uint8)
        # Each class has a bright stripe of its own.
        images[np.arange(count), 2 * labels] = 250
        for kind, array in (("labels-idx1", labels), ("images-idx3", images)):
            # Keras skips the header without a look at it.
            data = bytes(8 if kind == "labels-idx1" else 16) + array.tobytes()
            (folder / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(data))
    return {**own_environ(), **stack.environ, "KERAS_HOME": str(home)}


def _cells() -> list[str]:
    """The code cells of the notebook."""
    notebook = json.loads(_NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [[]] * len(code) == [cell["outputs"] for cell in code]
    return ["".join(cell["source"]) for cell in code]


def _run(arguments: list[str], environ: dict[str, str]) -> str:
    run = subprocess.run([sys.executable, *arguments], env=environ, capture_output=True, text=True)
    assert 0 == run.returncode, run.stderr
    return run.stdout


def test_the_script_trains_publishes_and_reads_its_results(
    stack: Stack, environ: dict[str, str]
) -> None:
    # When
    printed = _run([str(_SCRIPT)], environ)

    # Then
    assert f"{_TEST_ITEMS} probabilities, all within 1e-5 of Keras's: True" in printed
    models = ModelStore(objects=S3ObjectStore.from_settings(stack.settings))
    manifest = models.resolve("fashion-mnist@prod")
    assert f"published {manifest}: " in printed
    assert ([28, 28], "float32", "Ankle boot") == (
        manifest.input.shape,
        manifest.input.dtype,
        manifest.output.columns[9],
    )
    assert {
        f"{split}{name}" for split in ("", "val_", "test_") for name in ("loss", "accuracy")
    } == (manifest.metrics.keys())
    history = json.loads(models.fetch(manifest.files["history.json"]))
    assert [5, 5] == [len(history["loss"]), len(history["val_accuracy"])]
    assert b"trained by a script of its own" in models.fetch(manifest.files["report.html"])
    golden = from_npy(models.fetch(manifest.golden.inputs), where="golden")
    assert (32, 28, 28) == golden.shape
    assert (golden.max(axis=(1, 2)) > 0.9).all()


def test_the_notebook_has_the_cells_of_the_script() -> None:
    _, *cells = re.split(r"^# %%.*\n", _SCRIPT.read_text(encoding="utf-8"), flags=re.MULTILINE)

    assert [cell.strip() for cell in cells] == _cells()


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(environ: dict[str, str]) -> None:
    runner = "import json, sys\nfor cell in json.loads(sys.argv[1]): exec(cell, globals())"

    printed = _run(["-c", runner, json.dumps(_cells())], environ)

    assert f"{_TEST_ITEMS} probabilities, all within 1e-5 of Keras's: True" in printed
