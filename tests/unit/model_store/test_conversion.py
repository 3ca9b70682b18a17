"""Old Keras files become `.keras` files that can be published, or are refused with the reason."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fornada.errors import InputError, ModelRefusedError, UsageError
from model_store.conversion import convert
from model_store.engines import keras_file, keras_setup

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def keras() -> Any:
    return keras_setup.import_keras()


@pytest.fixture(scope="module")
def model(keras: Any) -> Any:
    layers = keras.layers
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((6,), name="words", dtype="int32"),
            layers.Embedding(10, 4, name="embedding"),
            layers.LSTM(5, name="lstm"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(3, activation="softmax", name="dense"),
        ]
    )


_KERAS_2_CONFIG = {
    "class_name": "Sequential",
    "config": {
        "name": "sequential",
        "layers": [
            {
                "class_name": "InputLayer",
                "config": {
                    "batch_input_shape": {"class_name": "__tuple__", "items": [None, 6]},
                    "dtype": "int32",
                    "sparse": False,
                    "ragged": False,
                    "name": "words",
                },
            },
            {
                "class_name": "Embedding",
                "config": {"name": "embedding", "input_dim": 10, "output_dim": 4},
            },
            {"class_name": "LSTM", "config": {"name": "lstm", "units": 5, "time_major": False}},
            {"class_name": "BatchNormalization", "config": {"name": "norm"}},
            {
                "class_name": "Dense",
                "config": {"name": "dense", "units": 3, "activation": "softmax"},
            },
        ],
    },
}


def _saved_model(folder: Path, model: Any, metadata: dict[str, Any] | None) -> Path:
    """A SavedModel folder as Keras 2 writes one: the graph, and the configuration beside it."""
    tensorflow = keras_setup.import_tensorflow()
    from tensorflow.python.keras.protobuf import saved_metadata_pb2  # noqa: PLC0415 - after Keras

    @tensorflow.function(input_signature=[tensorflow.TensorSpec([None, 6], "int32", "words")])  # type: ignore[untyped-decorator] # untyped
    def serve(words: Any) -> Any:
        return {"dense": model(words)}

    root = tensorflow.__internal__.tracking.AutoTrackable()
    root.variables = [weight.value for weight in model.weights]
    root.trainable_variables = [weight.value for weight in model.trainable_weights]
    tensorflow.saved_model.save(root, str(folder), signatures={"serving_default": serve})
    if metadata is not None:
        message = saved_metadata_pb2.SavedMetadata()
        message.nodes.add(node_path="root", metadata=json.dumps(metadata))
        (folder / "keras_metadata.pb").write_bytes(message.SerializeToString())
    return folder


def _converted(old: Path) -> Path:
    new = old.with_name("new.keras")
    convert(old, new)
    return new


def test_activations_of_tensorflow_become_those_of_keras(keras: Any, tmp_path: Path) -> None:
    # given a network as the Keras course writes it, in the old format
    nn = keras_setup.import_tensorflow().nn
    old = tmp_path / "old.h5"
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, activation=nn.silu),
            keras.layers.Dense(3, activation=nn.softmax),
        ]
    )
    model.save(old)

    # when
    made = keras_file.load_model(_converted(old), where="new.keras")

    # then
    items = np.random.default_rng(1).random((2, 6), np.float32)
    np.testing.assert_array_equal(model(items), made(items))
    assert ["silu", "softmax"] == [layer.activation.__name__ for layer in made.layers]


def _gives_the_same(artifact: Path, model: Any) -> None:
    loaded = keras_file.load_model(artifact, where="it")
    items = np.arange(12, dtype="int32").reshape(2, 6) % 10
    np.testing.assert_allclose(np.asarray(model(items)), np.asarray(loaded(items)), atol=1e-6)


def test_an_h5_file_is_converted(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "old.h5")
    # as Keras 2 wrote LSTM layers
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][2]["config"]["time_major"] = False
        file.attrs["model_config"] = json.dumps(config)

    _gives_the_same(_converted(tmp_path / "old.h5"), model)


def test_a_saved_model_with_a_keras_model_is_converted(model: Any, tmp_path: Path) -> None:
    folder = _saved_model(tmp_path / "old", model, _KERAS_2_CONFIG)

    _gives_the_same(_converted(folder), model)


def test_a_saved_model_that_gives_something_else_is_refused(model: Any, tmp_path: Path) -> None:
    config = json.loads(json.dumps(_KERAS_2_CONFIG))
    config["config"]["layers"][-1]["config"]["activation"] = "sigmoid"

    with pytest.raises(ModelRefusedError, match="gives other outputs than the model made of it"):
        _converted(_saved_model(tmp_path / "old", model, config))


@pytest.mark.parametrize(
    ("metadata", "fact"),
    [
        (None, "holds a graph for serving and no Keras model"),
        ({"class_name": "Shop", "config": {}}, "of which only code knows how it computes"),
    ],
)
def test_a_saved_model_without_a_keras_model_is_refused(
    model: Any, tmp_path: Path, metadata: Any, fact: str
) -> None:
    with pytest.raises(ModelRefusedError, match=fact):
        _converted(_saved_model(tmp_path / "old", model, metadata))


def test_other_files_are_refused(keras: Any, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for other in ("model.keras", "folder", "model.onnx"):
        with pytest.raises(UsageError, match=r"neither an \.h5 file nor a SavedModel folder"):
            _converted(tmp_path / other)
    with pytest.raises(InputError, match="does not exist"):
        _converted(tmp_path / "absent.h5")
    (tmp_path / "broken.h5").write_bytes(b"not hdf5")
    with pytest.raises(ModelRefusedError, match="cannot be loaded by Keras"):
        _converted(tmp_path / "broken.h5")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save_weights(
        tmp_path / "of.weights.h5"
    )
    with pytest.raises(ModelRefusedError, match="holds weights and no model"):
        _converted(tmp_path / "of.weights.h5")


def test_what_could_not_be_published_is_refused(keras: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda items: items)])
    model.save(tmp_path / "old.h5")

    with pytest.raises(ModelRefusedError, match=r"old\.h5"):
        _converted(tmp_path / "old.h5")
