"""A Keras cache per test, with the Fashion-MNIST sample or small files in it."""

import dataclasses
import hashlib
import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.data import keras_datasets

from .keras_files import MAKERS

_SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "fashion-mnist-sample"


@pytest.fixture
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Keras cache, which `keras.datasets` uses during a test."""
    from model_store.engines.keras_setup import import_keras  # noqa: PLC0415 - TensorFlow takes seconds

    import_keras()
    from keras.src.backend import config  # noqa: PLC0415 - after import_keras

    home = tmp_path / "keras"
    home.mkdir()
    monkeypatch.setenv("KERAS_HOME", str(home))
    # Keras reads the variable once, at import.
    monkeypatch.setattr(config, "_KERAS_DIR", str(home))
    return home


@pytest.fixture
def sample(keras_home: Path) -> Path:
    """The folder with the four files of 480 training and 120 test images."""
    if not _SAMPLE.is_dir():
        pytest.skip("the Fashion-MNIST sample is not here")
    folder = keras_home / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    for file in _SAMPLE.glob("*.gz"):
        shutil.copy(file, folder)
    return folder


@pytest.fixture
def put_small(keras_home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """`put_small(name)`: put a small file of this data set into the cache, and expect it.

    Every check still runs; during a test only the expected digest differs, ours and Keras's.
    """

    def put(name: str) -> Path:
        folder = keras_home / "datasets"
        folder.mkdir(exist_ok=True)
        path = MAKERS[name](folder)
        expect_file(monkeypatch, name, hashlib.sha256(path.read_bytes()).hexdigest())
        return path

    return put


def expect_file(monkeypatch: pytest.MonkeyPatch, name: str, sha256: str) -> None:
    """Make us and Keras expect another file for a data set."""
    source = keras_datasets.SOURCES[name]
    files = [dataclasses.replace(file, sha256=sha256) for file in source.files.files]
    changed = dataclasses.replace(source, files=dataclasses.replace(source.files, files=files))
    sources = {**keras_datasets.SOURCES, name: changed}
    monkeypatch.setattr(keras_datasets, "SOURCES", sources)
    module = importlib.import_module(f"keras.src.datasets.{name}")
    get_file = module.get_file

    def get(fname: str, **options: Any) -> str:
        path: str = get_file(fname, **{**options, "file_hash": sha256})
        return path

    monkeypatch.setattr(module, "get_file", get)
