"""The same artifact, item and engine give the same bytes, however the items come to the model."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model_store.engines import keras_file, keras_setup

from ...arrays import compile_predict

_ROOT = Path(__file__).parents[3]
#: More than a tile, and of the model with the large one nearly a tile.
_ITEM_COUNTS = {"mlp": 100, "cnn": 100, "wide": 1000}
#: As after training. Biases of zero TensorFlow leaves out of the graph, and then multiplies in a
#: way that depends on how many rows there are.
_TRAINED = {"mlp", "cnn"}
_END_WITHIN_S = 1500.0
#: Cores that predict may use, in one process and in another.
_THREADS = ("1", "4")
_PACKAGES = {
    "keras": "tensorflow",
    "keras-exact": "tensorflow",
    "jax": "jax",
    "openvino": "openvino",
}


def _mlp(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )


def _cnn(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((16, 16, 3), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )


def _wide(keras: Any) -> Any:
    """Long sums for few outputs, which threads may share between them."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((64, 64), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )


def _photos(keras: Any) -> Any:
    """Images of any size, several of each."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, None, 3), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )


_MODELS: dict[str, Callable[[Any], Any]] = {"mlp": _mlp, "cnn": _cnn, "wide": _wide}
#: Heights and widths of the photographs; calls of them have 8, 4 and 1 rows.
_SIZES = ((8, 9), (9, 8), (12, 12), (30, 40))
_PHOTO_COUNT = 100


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each model, some items, and what it gives for them."""
    folder = tmp_path_factory.mktemp("models")
    keras = keras_setup.import_keras()
    keras.utils.set_random_seed(1)
    for name, build in _MODELS.items():
        model = build(keras)
        if name in _TRAINED:
            for weight in model.weights:
                weight.assign_add(np.random.default_rng(1).uniform(0, 0.02, weight.shape))
        item_count, shape = _ITEM_COUNTS[name], model.inputs[0].shape[1:]
        items = np.random.default_rng(2).integers(0, 256, (item_count, *shape), np.uint8)
        predict = compile_predict(
            model, tile_items=item_count, item_shape=shape, item_dtype="uint8"
        )
        (folder / f"{name}.keras").write_bytes(keras_file.dump_model(model))
        np.savez(folder / f"{name}.npz", items=items, outputs=predict(items))
    _write_photos(folder, _photos(keras))
    return folder


def _write_photos(folder: Path, model: Any) -> None:
    rng, images = np.random.default_rng(3), []
    for number in range(_PHOTO_COUNT):
        size = _SIZES[number % len(_SIZES)]
        images.append(rng.integers(0, 256, (*size, 3), np.uint8))
        Image.fromarray(images[-1]).save(folder / f"{number:03}.png")
    (folder / "photos.keras").write_bytes(keras_file.dump_model(model))
    golden = np.stack(images[:: len(_SIZES)])
    np.savez(folder / "photos.npz", items=golden, outputs=model(golden).numpy())


@pytest.mark.timeout(2 * _END_WITHIN_S)
@pytest.mark.parametrize(
    ("engine", "examples"),
    [
        ("keras", 4),
        *[pytest.param(name, 15, marks=pytest.mark.slow) for name in _PACKAGES],
    ],
)
def test_no_byte_depends_on_split_order_company_threads_or_retries(
    engine: str, examples: int, models: Path
) -> None:
    if find_spec(_PACKAGES[engine]) is None:
        pytest.skip(f"{_PACKAGES[engine]} is not installed")

    found = [_split_otherwise(engine, threads, examples, models) for threads in _THREADS]

    assert found[0]["digests"] == found[1]["digests"]
    # Else it would say nothing of them.
    assert all(answers["deferred"] for answers in found)


def _split_otherwise(engine: str, threads: str, examples: int, models: Path) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    program = Path(__file__).with_name("programs") / "split_bytes.py"
    done = subprocess.run(
        [sys.executable, str(program), engine, threads, str(examples), str(models)],
        env={**kept, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        timeout=_END_WITHIN_S,
    )
    assert 0 == done.returncode, done.stderr[-8000:]
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers
