"""A fitted model in memory is published by one call, or the call says what is wrong."""

import json
import logging
from typing import Any

import numpy as np
import pytest

import model_store
from fornada.errors import (
    ConfigError,
    FornadaError,
    InputError,
    MissingExtraError,
    ModelError,
    ModelRefusedError,
    StoreError,
    UsageError,
)
from fornada.formats.npy import from_npy
from model_store.engines import keras_file
from model_store.manifest import ModelManifest
from model_store.store import ModelStore

_ITEMS = np.random.default_rng(0).random((60, 4)).astype(np.float32)
_LABELS = _ITEMS[:, :3].argmax(axis=1)


def _fitted(keras: Any, *layers: Any, loss: str, targets: Any, epochs: int = 2) -> Any:
    """A model without an Input layer: its fit says what it takes."""
    model = keras.Sequential(list(layers))
    model.compile("adam", loss, metrics=["mae" if loss == "mse" else "accuracy"])
    model.fit(_ITEMS, targets, validation_split=0.25, epochs=epochs, verbose=0)
    return model


@pytest.fixture(scope="module")
def model(keras: Any) -> Any:
    """A classifier of three classes, fitted for two epochs."""
    layers = [keras.layers.Dense(8, "relu"), keras.layers.Dense(3, "softmax")]
    return _fitted(keras, *layers, loss="sparse_categorical_crossentropy", targets=_LABELS)


def _golden(models: ModelStore, manifest: ModelManifest) -> Any:
    return from_npy(models.fetch(manifest.golden.inputs), where="golden")


def test_a_version_has_what_training_writes(models: ModelStore, model: Any) -> None:
    test = (_ITEMS[20:], _LABELS[20:])

    manifest = model_store.publish(
        model,
        name="m",
        history=model.history,
        classes=["a", "b", "c"],
        test=test,
        promote="prod",
        store=models,
    )

    assert manifest == models.resolve("m@prod")
    assert ([4], "float32", None) == (
        manifest.input.shape,
        manifest.input.dtype,
        manifest.training,
    )
    assert ("probabilities", ["a", "b", "c"]) == (manifest.output.kind, manifest.output.classes)
    curves = {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert curves | {"test_loss", "test_accuracy"} == manifest.metrics.keys()
    history = json.loads(models.fetch(manifest.files["history.json"]))
    assert model.history.history == history
    assert history["val_loss"][-1] == manifest.metrics["val_loss"]
    page = models.fetch(manifest.files["report.html"])
    assert b"3 classes, trained by a script of its own" in page
    assert b"Trained on" not in page
    assert {"confusion-matrix.png", "reference.json"} < manifest.files.keys()
    np.testing.assert_array_equal(_ITEMS[20:52], _golden(models, manifest))
    loaded = keras_file.load_model(models.fetch(manifest.artifact), where="m")
    np.testing.assert_allclose(
        model.predict(_ITEMS, verbose=0), loaded.predict(_ITEMS, verbose=0), atol=1e-6
    )


def test_all_but_the_name_may_be_left_out(models: ModelStore, model: Any) -> None:
    plain = model_store.publish(model, name="m", store=models)
    golden = model_store.publish(model, name="m", golden=_ITEMS[:5].tolist(), store=models)
    earlier = model_store.publish(model, name="m", best_epoch=1, store=models)

    assert (["0", "1", "2"], {"history.json"}) == (plain.output.columns, plain.files.keys())
    assert (32, 4) == _golden(models, plain).shape
    np.testing.assert_array_equal(_ITEMS[:5], _golden(models, golden))
    history = model.history.history
    assert [history["loss"][-1], history["loss"][0]] == [
        plain.metrics["loss"],
        earlier.metrics["loss"],
    ]


@pytest.mark.slow
def test_targets_may_have_the_forms_that_losses_take(models: ModelStore, keras: Any) -> None:
    layers, losses = keras.layers, keras.losses
    one_hot, values = np.eye(3)[_LABELS], _ITEMS.sum(axis=1)
    cross_entropy = losses.SparseCategoricalCrossentropy(from_logits=True)
    for last, loss, targets, kind in (
        (layers.Dense(3, "softmax"), "categorical_crossentropy", one_hot, "probabilities"),
        (layers.Dense(3), cross_entropy, _LABELS[:, None], "values"),
        (layers.Dense(1), losses.Huber(), values[:, None], "values"),
        (layers.Dense(1, "sigmoid"), "mse", _LABELS > 0, "binary"),
        (layers.Dense(1, "sigmoid"), "mse", values / values.max(), "values"),
        (layers.Dense(3, "sigmoid"), "binary_crossentropy", _ITEMS[:, :3] > 0.5, "multilabel"),
    ):
        model = _fitted(keras, last, loss=loss, targets=targets, epochs=1)

        manifest = model_store.publish(model, name="m", test=(_ITEMS, targets), store=models)

        assert kind == manifest.output.kind
        if kind == "probabilities" or (last.units == 1 and kind == "values"):
            assert "report.html" in manifest.files


def test_a_missing_extra_costs_the_report_alone(
    models: ModelStore,
    model: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def report(*_: object) -> dict[str, bytes]:
        raise MissingExtraError("matplotlib is not installed")

    monkeypatch.setattr("trainer.report.files.model_report", report)

    with caplog.at_level(logging.WARNING):
        manifest = model_store.publish(model, name="m", test=(_ITEMS, _LABELS), store=models)

    assert {"history.json"} == manifest.files.keys()
    assert "published without a report; matplotlib is not installed" in caplog.text


def test_a_wrong_call_publishes_nothing_and_says_what_to_give(
    models: ModelStore, model: Any, keras: Any
) -> None:
    compiled = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    compiled.compile("sgd", "mse")
    never_built = keras.Sequential([keras.layers.Dense(3)])
    wrong: list[tuple[Any, dict[str, Any], type[FornadaError], str]] = [
        (model, {"name": "a/b"}, UsageError, "model name 'a/b'"),
        (model, {"promote": "@"}, UsageError, "alias '@'"),
        ("model.keras", {}, UsageError, "is a str; give a keras.Model"),
        (compiled, {}, UsageError, r"never fitted; fit it first, or give history=\{\}"),
        (never_built, {}, ModelRefusedError, "never built.* before you publish it"),
        (model, {"classes": ["a"]}, UsageError, "1 classes are named; name 3"),
        (model, {"kind": "class"}, UsageError, "no kind 'class'; give one of probabilities,"),
        (model, {"kind": "binary"}, UsageError, r"shape \[3\], and binary is one number"),
        (model, {"kind": {"x": "values"}}, UsageError, "no output x; the model's is dense"),
        (model, {"threshold": 0.3}, UsageError, "has no threshold; leave it out"),
        (model, {"fill": float("nan")}, UsageError, "fill is nan; give a number"),
        (
            model,
            {"allow_nan": "yes"},
            UsageError,
            "allow_nan is 'yes'; give some of inputs, outputs",
        ),
        (model, {"threshold": 2}, UsageError, "threshold is 2; give a probability"),
        (model, {"image": {"resize": "crop"}}, UsageError, r"float32 \[4\], which are not images"),
        (model, {"history": 3}, UsageError, "history is a int; give what model.fit returned"),
        (model, {"best_epoch": 3}, UsageError, "best_epoch is 3, and the history has 2 epochs"),
        (model, {"test": _ITEMS}, UsageError, r"test is a ndarray; give .*test=\(items, targets\)"),
        (model, {"test": (_ITEMS, _LABELS[1:])}, InputError, "one target per item"),
        (model, {"test": (_ITEMS[:, 1:], _LABELS)}, InputError, r"shape \(3,\), but .* takes \(4,"),
        (model, {"test": (_ITEMS, _LABELS + 9)}, InputError, "like those that it was fitted on"),
        (model, {"golden": [[1, 2], [3]]}, InputError, "golden: a list is not an array"),
        (model, {"history": {"loss": [float("nan")]}}, ModelError, "training diverged: loss"),
    ]

    for given, arguments, error, message in wrong:
        with pytest.raises(error, match=message):
            model_store.publish(given, **{"name": "m", "store": models, **arguments})

    assert [] == models.names()


def test_weights_from_elsewhere_need_no_fit(models: ModelStore, keras: Any) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
    uncompiled = model_store.publish(model, name="m", test=(_ITEMS, _LABELS), store=models)
    model.compile("sgd", "mse")
    compiled = model_store.publish(model, name="m", history={}, store=models)

    assert ({}, {}) == (uncompiled.metrics, compiled.metrics)
    assert "report.html" in uncompiled.files


def test_the_store_is_the_one_that_the_environment_describes(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORNADA_S3_ENDPOINT_URL", "here")
    with pytest.raises(ConfigError, match="FORNADA_S3_ENDPOINT_URL"):
        model_store.publish(model, name="m")

    monkeypatch.setenv("FORNADA_S3_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("FORNADA_S3_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("FORNADA_S3_SECRET_ACCESS_KEY", "b")
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1"):
        model_store.publish(model, name="m")


def test_only_what_is_public_is_there() -> None:
    assert {"PublishModel", "publish"} <= set(dir(model_store))
    with pytest.raises(AttributeError, match="no attribute 'submit'"):
        _ = model_store.submit
