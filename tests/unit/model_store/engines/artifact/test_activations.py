"""TensorFlow's functions as activations become Keras's own of the same meaning."""

import importlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada.errors import ModelRefusedError
from model_store.engines import keras_file, keras_setup
from model_store.engines.artifact import activations
from model_store.publishing.file import publish_file
from model_store.store import ModelStore

#: Functions of `tf.nn` that give as many numbers as they take.
_ACTIVATIONS = (
    *("elu", "gelu", "leaky_relu", "log_softmax", "relu", "relu6", "selu", "sigmoid", "silu"),
    *("softmax", "softplus", "softsign", "swish", "tanh"),
)


@pytest.fixture(scope="module")
def keras() -> Any:
    return keras_setup.import_keras()


@pytest.fixture(scope="module")
def tensorflow(keras: Any) -> Any:
    return importlib.import_module("tensorflow")


def _model(keras: Any, activation: Any) -> Any:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, activation=activation)])


def _saved(model: Any, folder: Path) -> bytes:
    model.save(folder / "model.keras")
    return (folder / "model.keras").read_bytes()


def test_every_activation_of_tensorflow_is_published_with_the_same_outputs(
    keras: Any, tensorflow: Any, models: ModelStore, tmp_path: Path
) -> None:
    # given a file as its author saves it, with a layer for each
    functions = [getattr(tensorflow.nn, name) for name in _ACTIVATIONS] + [tensorflow.math.exp]
    keras.utils.set_random_seed(1)
    taken = keras.Input((6,))
    layers = [keras.layers.Dense(4, activation=function)(taken) for function in functions]
    model = keras.Model(taken, keras.layers.Concatenate()(layers))
    items = np.random.default_rng(2).normal(size=(5, 6)).astype("float32") * 3

    # when
    manifest = publish_file(_saved(model, tmp_path), where="it", name="m", models=models)

    # then
    loaded = keras_file.load_model(models.fetch(manifest.artifact), where="it")
    found, expected = np.asarray(loaded(items)), np.asarray(model(items))
    assert (5, 4 * len(functions)) == found.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_no_activation_of_tensorflow_is_left_out(tensorflow: Any) -> None:
    numbers = np.linspace(-5, 5, 24, dtype=np.float32).reshape(4, 6)
    found = set()
    for name in dir(tensorflow.nn):
        try:
            gives = getattr(tensorflow.nn, name)(tensorflow.constant(numbers))
            if gives.shape == numbers.shape:
                found.add(name)
        except Exception:  # noqa: BLE001 - it takes something else
            continue

    # l2_normalize divides by the norm of the whole batch.
    assert {*_ACTIVATIONS, "l2_normalize"} == found


def test_a_model_in_memory_is_dumped_with_activations_of_keras(keras: Any, tensorflow: Any) -> None:
    def swish(items: Any) -> Any:
        return items * 2

    given = keras_file.dump_model(_model(keras, tensorflow.nn.softmax))
    own = keras_file.dump_model(_model(keras, swish))

    assert "softmax" == _activation(given)
    # A function of one's own is not taken for TensorFlow's of the same name.
    assert "swish" == _activation(own)["config"]
    with pytest.raises(ModelRefusedError, match="'swish', which is not on the list"):
        keras_file.load_model(own, where="it")


def _activation(data: bytes) -> Any:
    return activations.read_config(data)["config"]["layers"][1]["config"]["activation"]


def test_workers_do_not_load_what_publishing_replaces(
    keras: Any, tensorflow: Any, tmp_path: Path
) -> None:
    data = _saved(_model(keras, tensorflow.nn.softmax), tmp_path)

    assert {"tf.nn.softmax": "softmax"} == activations.replacements(data)
    with pytest.raises(ModelRefusedError, match="'softmax_v2', which is not on the list"):
        keras_file.load_model(data, where="it")


def test_other_files_stay_as_they_are(keras: Any, tmp_path: Path) -> None:
    data = _saved(_model(keras, "softmax"), tmp_path)

    assert activations.with_keras_activations(data) is data
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert json.loads(archive.read("config.json")) == activations.read_config(data)
