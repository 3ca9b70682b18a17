"""A `.keras` file that was made elsewhere is published with a golden batch, or refused."""

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import model_store
from fornada.commands.router import root
from fornada.errors import InputError, ModelRefusedError, UsageError
from fornada.formats.npy import from_npy
from fornada.records import sha256_hex
from model_store.engines import keras_file
from model_store.engines.artifact.archive import read_config
from model_store.manifest import ModelManifest
from model_store.publishing import file as published_file
from model_store.publishing.checked import GOLDEN_ITEMS
from model_store.publishing.file import publish_file
from model_store.publishing.golden_items import read_arrays
from model_store.publishing.stated import Stated
from model_store.store import ModelStore


@pytest.fixture(scope="module")
def artifact(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Written by Keras itself, dates and all."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((2, 2), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    return path.read_bytes()


def _publish(
    models: ModelStore,
    artifact: bytes,
    stated: Stated | None = None,
    *,
    golden: np.ndarray | None = None,
    **options: Any,
) -> ModelManifest:
    with tempfile.TemporaryDirectory() as folder:
        if golden is not None:
            options["golden"] = Path(folder, "golden.npy")
            np.save(options["golden"], golden)
        return publish_file(
            artifact, where="model.keras", name="m", models=models, stated=stated, **options
        )


def _dump(keras: Any, *layers: Any) -> bytes:
    return keras_file.dump_model(keras.Sequential(list(layers)))


def test_the_file_is_published_as_it_is(models: ModelStore, artifact: bytes) -> None:
    stated = Stated(classes=["a", "b", "c"])

    manifest = _publish(models, artifact, stated, metrics={"accuracy": 0.5})

    assert manifest == models.resolve("m:1")
    assert sha256_hex(artifact) == manifest.digest
    assert ([2, 2], "uint8") == (manifest.input.shape, manifest.input.dtype)
    assert ("probabilities", ["a", "b", "c"]) == (manifest.output.kind, manifest.output.classes)
    assert {"accuracy": 0.5} == manifest.metrics
    assert {"fornada", "keras", "numpy", "tensorflow"} == set(manifest.packages)


def test_what_is_stated_takes_the_place_of_what_is_read(
    models: ModelStore, artifact: bytes
) -> None:
    stated = Stated(
        kind={"level": "multilabel"},
        classes=["low", "mean", "high"],
        threshold=0.25,
        input_name="grid",
        output_name="level",
    )

    manifest = _publish(models, artifact, stated)

    assert ("grid", "level") == (manifest.input.name, manifest.output.name)
    assert ("multilabel", 0.25) == (manifest.output.kind, manifest.output.threshold)


def test_the_loss_that_a_file_was_compiled_for_counts(
    models: ModelStore, keras: Any, caplog: pytest.LogCaptureFixture
) -> None:
    logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for loss, kind, hint in (
        (None, "embedding", ""),
        ("mse", "values", ""),
        (logits, "values", "Softmax()"),
    ):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(40)])
        if loss is not None:
            model.compile("sgd", loss)
        caplog.clear()

        manifest = _publish(models, keras_file.dump_model(model))

        assert kind == manifest.output.kind
        assert hint in caplog.text
        assert bool(hint) == ("gives 40 values; its loss" in caplog.text)


def test_logits_are_no_probabilities_whatever_the_publisher_says(
    models: ModelStore, keras: Any
) -> None:
    logits = keras.Sequential([keras.Input((2,), dtype="uint8", name="x"), keras.layers.Dense(3)])
    artifact = keras_file.dump_model(logits)
    with pytest.raises(UsageError, match=r"numbers from .* needs numbers from 0 to 1") as e:
        _publish(models, artifact, Stated(kind="probabilities"))

    # the remedy keeps what the model takes
    remedy = str(e.value).rpartition("publish ")[2]
    ended = eval(remedy, {"keras": keras, "model": logits})
    manifest = _publish(models, keras_file.dump_model(ended))

    assert "probabilities" == manifest.output.kind
    assert ("x", "uint8") == (manifest.input.name, manifest.input.dtype)


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_a_lambda_as_loss_or_metric_is_left_out(
    models: ModelStore, keras: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # given a model in a model, each compiled with code, as Keras itself saves them
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")])
    inner.compile("sgd", loss=lambda true, given: true - given)
    model = keras.Sequential([keras.Input((2,)), inner])
    model.compile("sgd", "binary_crossentropy", metrics=[lambda true, given: true - given])
    model.save(tmp_path / "m.keras")
    assert 2 == zipfile.ZipFile(tmp_path / "m.keras").read("config.json").count(b"__lambda__")

    # when
    from_file = _publish(models, (tmp_path / "m.keras").read_bytes())
    from_script = model_store.publish(model, name="m", history={}, store=models)

    # then the loss counts, and nothing of it is stored
    for manifest in (from_file, from_script):
        config = read_config(models.fetch(manifest.artifact))
        assert "binary" == manifest.output.kind
        assert (None, False) == (config["compile_config"], "__lambda__" in json.dumps(config))
    assert 2 == caplog.text.count("it is published without its loss, metrics and optimizer")


def test_golden_items_are_generated_or_given(models: ModelStore, artifact: bytes) -> None:
    # given
    given = np.array([[[0, 255], [7, 9]]], np.int64)

    # when
    generated, chosen = _publish(models, artifact), _publish(models, artifact, golden=given)

    # then
    def stored(manifest: ModelManifest) -> Any:
        return from_npy(models.fetch(manifest.golden.inputs), where="golden")

    assert ((GOLDEN_ITEMS, 2, 2), np.uint8) == (
        stored(generated).shape,
        stored(generated).dtype,
    )
    assert np.uint8 == stored(chosen).dtype
    np.testing.assert_array_equal(given, stored(chosen))
    assert ["0", "1", "2"] == chosen.output.columns


@pytest.mark.parametrize(
    ("options", "error", "fact"),
    [
        ({"stated": Stated(classes=["a"])}, UsageError, "1 classes are named; name 3"),
        ({"golden": np.zeros((1, 2, 5), np.uint8)}, InputError, r"items of shape \(2, 5\)"),
        ({"golden": np.full((1, 2, 2), 300)}, InputError, "do not fit uint8"),
        ({"golden": np.zeros((0, 2, 2), np.uint8)}, InputError, "is empty"),
        ({"golden": np.zeros((1025, 2, 2), np.uint8)}, InputError, "has 1025 items"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(
    models: ModelStore, artifact: bytes, options: Any, error: Any, fact: str
) -> None:
    with pytest.raises(error, match=fact):
        _publish(models, artifact, **options)

    assert [] == models.names()


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
@pytest.mark.parametrize(
    ("layers", "fact"),
    [
        (lambda k: [k.layers.Flatten()], "was never built"),
        (lambda k: [k.layers.Dense(3)], "has a Dense and no weights: the model was never built"),
        (
            lambda k: [
                k.Input((2,)),
                *[k.layers.Rescaling(1e30) for _ in "12"],
                k.layers.Softmax(),
            ],
            "NaN or infinity for its golden batch",
        ),
    ],
    ids=["unbuilt", "unbuilt with weights", "overflow"],
)
def test_a_model_that_cannot_serve_is_refused(
    models: ModelStore, keras: Any, layers: Any, fact: str
) -> None:
    with pytest.raises(ModelRefusedError, match=fact):
        _publish(models, _dump(keras, *layers(keras)))

    assert [] == models.names()


def test_made_up_items_have_every_dtype_and_a_size_that_the_model_takes(
    models: ModelStore, keras: Any
) -> None:
    layers, ops = keras.layers, keras.ops
    conv = layers.Conv2D(2, 120)
    at_most_12 = layers.Embedding(12, 2)
    cases: list[tuple[Any, str, Any, tuple[int, ...], float]] = [
        ((3,), "bool", None, (3,), 1),
        ((), "float64", lambda x: ops.expand_dims(x, -1), (), 1),
        ((4, 4, 3), "uint16", None, (4, 4, 3), 255),
        ((None, None, 3), "float16", layers.GlobalAveragePooling2D(), (64, 64, 3), 255),
        # Images of 64 pixels are too small.
        (
            (None, None, 3),
            "bfloat16",
            lambda x: layers.GlobalAveragePooling2D()(conv(x)),
            (128, 128, 3),
            255,
        ),
        ((None, 5), "float32", layers.GlobalMaxPooling1D(), (16, 5), 1),
        (
            (None,),
            "int8",
            lambda x: layers.GlobalMaxPooling1D()(layers.Embedding(300, 2)(x)),
            (16,),
            127,
        ),
        # Of positions, it has few.
        (
            (None,),
            "int64",
            lambda x: layers.GlobalMaxPooling1D()(at_most_12(ops.cumsum(ops.ones_like(x), 1))),
            (8,),
            11,
        ),
    ]
    for shape, dtype, inner, golden_shape, largest in cases:
        taken = keras.Input(shape, dtype=dtype)
        hidden = layers.Flatten()(taken) if inner is None else inner(taken)
        model = keras.Model(taken, layers.Dense(2)(ops.cast(hidden, "float32")))

        manifest = _publish(models, keras_file.dump_model(model))

        assert (dtype, list(shape)) == (manifest.input.dtype, manifest.input.shape)
        items = from_npy(models.fetch(manifest.golden.inputs), where="golden")
        assert (manifest.input.numpy_dtype, golden_shape) == (str(items.dtype), items.shape[1:])
        # fewer, where an item takes long
        assert 4 <= len(items) <= GOLDEN_ITEMS
        assert largest * 0.9 < items.max() <= largest, dtype


def test_the_one_input_and_output_may_be_in_dicts_and_lists(models: ModelStore, keras: Any) -> None:
    taken = keras.Input((2,), name="x")
    given = keras.layers.Dense(1, name="end")(taken)
    for inputs, outputs, names in (
        ({"x": taken}, {"y": given}, ("x", "y")),
        ([taken], [given], ("x", "end")),
        ({"x": taken}, {"a": {"b": [given]}}, ("x", "a/b/0")),
    ):
        manifest = _publish(models, keras_file.dump_model(keras.Model(inputs, outputs)))

        assert names == (manifest.input.name, manifest.output.name)


def test_nan_is_allowed_where_the_publisher_says_so(models: ModelStore, keras: Any) -> None:
    taken = keras.Input((2,))
    data = keras_file.dump_model(keras.Model(taken, keras.ops.log(taken - 0.5)))

    manifest = _publish(models, data, Stated(fill=0.5, allow_nan=["outputs"]))

    assert (True, 0.5) == (manifest.input.finite, manifest.input.fill)
    assert not manifest.output.finite
    with pytest.raises(ModelRefusedError, match="NaN or infinity for its golden batch"):
        _publish(models, data, Stated(allow_nan=["inputs"]))


def test_a_model_that_fails_on_its_golden_batch_is_refused(models: ModelStore, keras: Any) -> None:
    layers = keras.layers
    words = keras.Input((4,), dtype="int32")
    pooled = layers.GlobalMaxPooling1D()(layers.Embedding(9, 2)(words))
    data = keras_file.dump_model(keras.Model(words, pooled))

    with pytest.raises(ModelRefusedError, match=r"fails on its golden batch .*; give typical"):
        _publish(models, data, golden=np.full((1, 4), 9))


def test_a_lambda_cannot_be_published(models: ModelStore, keras: Any) -> None:
    evil = _dump(keras, keras.Input((2,)), keras.layers.Lambda(lambda items: items))

    with pytest.raises(ModelRefusedError, match="Lambda"):
        _publish(models, evil)

    assert [] == models.names()


def test_a_model_that_the_store_changed_is_not_published(
    models: ModelStore, artifact: bytes, keras: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a store that returns another model than it was given
    other = _dump(keras, keras.Input((2, 2), dtype="uint8"), keras.layers.Flatten())
    monkeypatch.setattr(models, "download", lambda _ref, path: path.write_bytes(other))

    with pytest.raises(ModelRefusedError, match=r"its manifest says \[null, 3\]"):
        _publish(models, artifact)

    assert [] == models.names()


def test_only_keras_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.keras").write_bytes(b"1234")

    path = tmp_path / "model.keras"
    assert path == published_file.check_file(path)
    for old in ("model.h5", "saved"):
        (tmp_path / "saved").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match=rf"fornada models convert .*{old} .*\.keras"):
            published_file.check_file(tmp_path / old)
    with pytest.raises(InputError, match="cannot be read"):
        published_file.check_file(tmp_path / "absent.keras")
    monkeypatch.setattr(published_file, "MAX_ARTIFACT_BYTES", 3)
    with pytest.raises(InputError, match="has 4 bytes; give at most 3"):
        published_file.check_file(tmp_path / "model.keras")


def test_classes_that_are_not_an_array_of_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    for text in ("", "{}", '["a", 1]', "[" * 100_000, "a\nb"):
        path.write_text(text)

        with pytest.raises(InputError, match="not a JSON array of class names"):
            published_file.read_classes(path)


def test_classes_and_golden_items_are_read(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text('["cat", "dog"]')
    items = {"photo": np.arange(3), "facts": np.ones((3, 2))}
    np.savez(tmp_path / "golden.npz", **items)

    assert ["cat", "dog"] == published_file.read_classes(tmp_path / "classes.json")
    path = published_file.check_golden_file(tmp_path / "golden.npz")
    np.testing.assert_equal(items, read_arrays(path))
    with pytest.raises(UsageError, match=r"give \.npy, \.npz, \.safetensors"):
        published_file.check_golden_file(tmp_path / "golden.csv")
    with pytest.raises(InputError, match="cannot be read"):
        published_file.read_classes(tmp_path / "absent.json")


def test_metrics_are_names_and_numbers() -> None:
    assert {"a": 0.5, "b.c": -1e-3} == published_file.parse_metrics(["a=0.5", "b.c=-1e-3"])
    for text in ("a", "a=", "=1", "a=b", "a=nan", "a=inf", "a=1=2", "1a=1"):
        with pytest.raises(UsageError, match="is not NAME=NUMBER"):
            published_file.parse_metrics([text])


def test_the_command_line_refuses_a_folder_as_the_call_does(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="but a folder, which can hold code; where you trust it"):
        root.main(["models", "publish", str(tmp_path), "--name", "m"], standalone_mode=False)


def test_a_pipe_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.keras")

    with pytest.raises(UsageError, match=r"m\.keras is not a regular file; copy it into one"):
        published_file.check_file(tmp_path / "m.keras")
