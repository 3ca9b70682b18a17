"""Models that people have are loaded: own code by registered name, vocabularies, old releases."""

import importlib
import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada.errors import ModelRefusedError
from model_store.engines import keras_file, keras_setup
from model_store.engines.artifact import archive
from model_store.publishing.file import publish_file
from model_store.safety.trust import Trust
from model_store.store import ModelStore

from ....walls import no_wall

_SHOP = """
import keras

@keras.saving.register_keras_serializable()
class Thrice(keras.layers.Layer):
    def call(self, items):
        return items * 3

@keras.saving.register_keras_serializable("shop")
def bent(items):
    return items * items

@keras.saving.register_keras_serializable("shop")
class Net(keras.Model):
    def __init__(self, units=2, **options):
        super().__init__(**options)
        self.units = units
        self.dense = keras.layers.Dense(units, name="dense")

    def call(self, items):
        return self.dense(items)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
"""
_ITEMS = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


@pytest.fixture(scope="module")
def keras() -> Any:
    return keras_setup.import_keras()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keras: Any) -> Iterator[Any]:
    """A package of layers, functions and models."""
    (tmp_path / "shop_code.py").write_text(_SHOP)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("shop_code")
    del sys.modules["shop_code"]
    for name in ("Custom>Thrice", "shop>bent", "shop>Net"):
        keras.saving.get_custom_objects().pop(name, None)


def _forget(keras: Any, *names: str) -> None:
    """As in a process that never imported the code."""
    for name in names:
        keras.saving.get_custom_objects().pop(name, None)


def _gives_the_same(model: Any, data: bytes, allowed: set[str]) -> None:
    loaded = keras_file.load_model(data, where="it", allowed_objects=allowed)
    np.testing.assert_array_equal(np.asarray(model(_ITEMS)), np.asarray(loaded(_ITEMS)))


def test_layers_and_functions_are_found_by_registered_name(keras: Any, shop: Any) -> None:
    # given a layer that a notebook registered, whose module nobody can import
    dense = keras.layers.Dense(2, activation=shop.bent)
    model = keras.Sequential([keras.Input((2,)), shop.Thrice(), dense])
    shop.Thrice.__module__ = "__main__"
    data = keras_file.dump_model(model)
    _forget(keras, "Custom>Thrice", "shop>bent")

    # when
    with pytest.raises(ModelRefusedError) as refusal:
        keras_file.load_model(data, where="it")

    # then
    assert (
        "set FORNADA_ALLOWED_OBJECTS='Custom>Thrice=MODULE:Thrice,shop>bent=MODULE:bent'"
    ) in str(refusal.value)
    allowed = {"Custom>Thrice=shop_code:Thrice", "shop>bent=shop_code:bent"}
    _gives_the_same(model, data, allowed)


def test_a_subclassed_model_is_published_where_it_is_allowed(
    keras: Any, shop: Any, models: ModelStore
) -> None:
    model = shop.Net()
    model(_ITEMS)
    data = keras_file.dump_model(model)
    _forget(keras, "shop>Net")
    trusting = ModelStore(
        objects=models.objects,
        trust=Trust(allowed_objects=frozenset({"shop>Net=shop_code:Net"})),
        open_wall=no_wall,
    )

    with pytest.raises(ModelRefusedError, match="FORNADA_ALLOWED_OBJECTS='shop>Net=shop_code:Net'"):
        publish_file(data, where="it", name="net", models=models)
    manifest = publish_file(data, where="it", name="net", models=trusting)

    assert ([2], "float32", ["0", "1"]) == (
        manifest.input.shape,
        manifest.input.dtype,
        manifest.output.columns,
    )


def test_vocabularies_are_loaded_from_the_archive(keras: Any) -> None:
    tensorflow = keras_setup.import_tensorflow()
    words = keras.layers.TextVectorization(max_tokens=20, output_sequence_length=4)
    words.adapt(["a good film", "não gostei"])
    texts = keras.Input((), dtype="string")
    model = keras.Model(texts, keras.layers.Embedding(20, 2)(words(texts)))
    given = tensorflow.constant(["a film não", "x"])

    loaded = keras_file.load_model(keras_file.dump_model(model), where="it")

    np.testing.assert_array_equal(np.asarray(model(given)), np.asarray(loaded(given)))


def test_lookups_and_bins_are_loaded(keras: Any) -> None:
    tensorflow = keras_setup.import_tensorflow()
    layers = keras.layers
    colour, number = keras.Input((1,), dtype="string"), keras.Input((1,), dtype="int64")
    outputs = [
        layers.StringLookup(vocabulary=["red", "maçã"], output_mode="one_hot")(colour),
        layers.Hashing(5, output_mode="one_hot")(colour),
        layers.IntegerLookup(vocabulary=[7, 9], output_mode="one_hot")(number),
        layers.Discretization([1.0, 8.0], output_mode="one_hot")(number),
    ]
    model = keras.Model([colour, number], layers.Concatenate()(outputs))
    given = [tensorflow.constant([["red"], ["maçã"], ["x"]]), tensorflow.constant([[7], [9], [1]])]

    loaded = keras_file.load_model(keras_file.dump_model(model), where="it")

    np.testing.assert_array_equal(np.asarray(model(given)), np.asarray(loaded(given)))


@pytest.mark.filterwarnings("ignore:.*doesn't match the expected structure")
def test_a_feature_space_is_loaded(keras: Any) -> None:
    tensorflow = keras_setup.import_tensorflow()
    kinds = keras.utils.FeatureSpace
    space = kinds(
        features={"age": kinds.float_normalized(), "sex": kinds.string_categorical()},
        output_mode="concat",
    )
    rows = {"age": np.float32([20, 30, 40]), "sex": np.array(["m", "f", "m"])}
    space.adapt(tensorflow.data.Dataset.from_tensor_slices(rows))
    model = keras.Model(space.get_inputs(), space.get_encoded_features())
    given = {
        "age": tensorflow.constant([[25.0], [61.0]]),
        "sex": tensorflow.constant([["f"], ["x"]]),
    }

    loaded = keras_file.load_model(keras_file.dump_model(model), where="it")

    np.testing.assert_array_equal(np.asarray(model(given)), np.asarray(loaded(given)))


@pytest.mark.parametrize("release", ["3.3.3", "3.8.0"])
def test_a_model_in_float16_of_an_older_keras_is_loaded(keras: Any, release: str) -> None:
    # given the operations and module names that those releases write
    inputs = keras.Input((2,), dtype="float32")
    half = keras.ops.cast(inputs, "float16")
    layers = keras.layers
    hidden = layers.Dense(4, dtype="mixed_float16")(half)
    model = keras.Model(inputs, layers.Dense(2, dtype="float32")(hidden))

    data = _as_of(keras_file.dump_model(model), release)

    _gives_the_same(model, data, set())


def _as_of(data: bytes, release: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(buffer, "w") as written:
        for name in given.namelist():
            content = given.read(name)
            if name == "metadata.json":
                content = json.dumps({"keras_version": release, "date_saved": "then"}).encode()
            if name == "config.json":
                # Settings that came later are absent.
                content = content.replace(b', "quantization_config": null', b"")
            written.writestr(name, content)
    return buffer.getvalue()


def test_what_a_nested_model_was_compiled_for_is_not_built(keras: Any, tmp_path: Path) -> None:
    # given a metric of 16 GB in a model within the model
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    inner.compile("adam", "mse", metrics=[keras.metrics.AUC(num_thresholds=3)])
    model = keras.Sequential([keras.Input((2,)), inner])
    data = keras_file.dump_model(model)

    def enlarge(config: Any) -> Any:
        text = json.dumps(config)
        assert '"num_thresholds": 3' in text
        return json.loads(text.replace('"num_thresholds": 3', '"num_thresholds": 2000000000'))

    _gives_the_same(model, _with_config(data, enlarge, tmp_path), set())


@pytest.mark.parametrize(
    ("layer", "config"),
    [
        ("RepeatVector", {"n": 10**9}),
        ("CategoryEncoding", {"num_tokens": 10**9}),
        ("UpSampling2D", {"size": [40_000, 40_000]}),
    ],
)
def test_layers_that_would_fill_the_memory_are_refused(
    keras: Any, layer: str, config: dict[str, Any], tmp_path: Path
) -> None:
    data = keras_file.dump_model(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]))
    given = {"module": "keras.layers", "class_name": layer, "config": config}

    with pytest.raises(ModelRefusedError, match=f"has a {layer} of .* numbers an item"):
        keras_file.load_model(_with_layer(data, given, tmp_path), where="it")


@pytest.mark.parametrize(
    ("layer", "fact"),
    [
        # a weight of 24 GB, by the shape that the file says the layer was built for
        (
            {
                "class_name": "PReLU",
                "config": {"name": "wide"},
                "build_config": {"input_shape": [None, 6 * 10**9]},
            },
            "needs .* weights, and has only",
        ),
        # outputs that two layers multiply
        (
            {"class_name": "RepeatVector", "config": {"n": 200_000_000, "name": "long"}},
            "that makes 400000000 numbers of an item",
        ),
    ],
)
def test_a_model_too_large_for_its_file_is_refused_before_it_is_built(
    keras: Any, layer: dict[str, Any], fact: str, tmp_path: Path
) -> None:
    data = keras_file.dump_model(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]))

    with pytest.raises(ModelRefusedError, match=fact):
        keras_file.load_model(
            _with_layer(
                data, {"module": "keras.layers", **layer, "registered_name": None}, tmp_path
            ),
            where="it",
        )


def _with_layer(data: bytes, layer: dict[str, Any], folder: Path) -> bytes:
    def change(config: Any) -> Any:
        layers = [*config["config"]["layers"], layer]
        return {**config, "config": {**config["config"], "layers": layers}}

    return _with_config(data, change, folder)


def _with_config(data: bytes, change: Callable[[Any], Any], folder: Path) -> bytes:
    archive.write_with_config(data, change(archive.read_config(data)), folder / "changed.keras")
    return (folder / "changed.keras").read_bytes()
