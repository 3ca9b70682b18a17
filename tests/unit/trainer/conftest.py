"""The Fashion-MNIST sample in a Keras cache of the test's own."""

import shutil
from pathlib import Path

import pytest

_SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "fashion-mnist-sample"


@pytest.fixture
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Keras cache, which `keras.datasets` uses for the length of a test."""
    from model_store.keras_codec import import_keras  # noqa: PLC0415 - TensorFlow takes seconds

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
