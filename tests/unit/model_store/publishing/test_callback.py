"""The callback publishes the best epoch of a training."""

import json
from typing import Any

import numpy as np
import pytest

import model_store
from fornada.errors import UsageError
from model_store.engines import keras_file
from model_store.store import ModelStore

_ITEMS = np.random.default_rng(0).random((60, 4)).astype(np.float32)
_LABELS = _ITEMS[:, :3].argmax(axis=1)


def _fit(keras: Any, callback: Any, **options: Any) -> tuple[Any, list[list[Any]]]:
    """Fit for four epochs; the model, and its weights after each epoch."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(3, "softmax")])
    # So fast that it overshoots.
    optimizer = keras.optimizers.SGD(60.0)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    weights: list[list[Any]] = []
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: weights.append(model.get_weights())
    )
    options = {"validation_split": 0.25, **options}
    model.fit(_ITEMS, _LABELS, epochs=4, verbose=0, callbacks=[callback, keep], **options)
    return model, weights


def test_the_best_epoch_is_published_and_the_model_left_as_it_is(
    keras: Any, models: ModelStore
) -> None:
    test = (_ITEMS, _LABELS)
    for monitor, pick in ((None, np.argmin), ("accuracy", np.argmax), ("val_loss", np.argmin)):
        publish = model_store.PublishModel(
            name="m", monitor=monitor, test=test, classes=["a", "b", "c"], store=models
        )

        model, weights = _fit(keras, publish)

        manifest = publish.manifest
        assert manifest is not None
        history = json.loads(models.fetch(manifest.files["history.json"]))
        assert model.history.history == history
        best = int(pick(history[monitor or "val_loss"]))
        assert history["val_loss"][best] == manifest.metrics["val_loss"]
        published = keras_file.load_model(models.fetch(manifest.artifact), where="m")
        for expected, actual in zip(weights[best], published.get_weights(), strict=True):
            np.testing.assert_array_equal(expected, actual)
        for expected, actual in zip(weights[-1], model.get_weights(), strict=True):
            np.testing.assert_array_equal(expected, actual)
        page = models.fetch(manifest.files["report.html"]).decode()
        assert (best < 3) == (f"weights of epoch {best + 1}" in page)


@pytest.mark.slow
def test_validation_may_be_rare_or_missing(keras: Any, models: ModelStore) -> None:
    rare = model_store.PublishModel(name="m", store=models)
    missing = model_store.PublishModel(name="m", store=models)

    _fit(keras, rare, validation_freq=2)
    _fit(keras, missing, validation_split=0.0)

    assert rare.manifest is not None
    assert {"loss", "accuracy"} == rare.manifest.metrics.keys()
    assert missing.manifest is not None


def test_what_is_wrong_is_said_as_early_as_it_can_be_known(keras: Any, models: ModelStore) -> None:
    with pytest.raises(UsageError, match="model name 'a/b'"):
        model_store.PublishModel(name="a/b", store=models)
    with pytest.raises(UsageError, match="the threshold is 5"):
        model_store.PublishModel(name="m", threshold=5, store=models)
    for arguments, message, epochs_done in (
        ({"classes": ["a"]}, "1 classes are named; name 3", 0),
        ({"kind": "binary"}, "binary is one number", 0),
        ({"image": {"resize": "crop"}}, "which are not images", 0),
        ({"monitor": "auc"}, "no 'auc' to find the best epoch by; it logs: accuracy, loss", 0),
        ({"monitor": "val_auc"}, "no 'val_auc' to find the best epoch by", 4),
    ):
        publish = model_store.PublishModel(**{"name": "m", "store": models, **arguments})
        history = keras.callbacks.History()
        model = keras.Sequential([keras.layers.Dense(3, "softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])

        with pytest.raises(UsageError, match=message):
            model.fit(_ITEMS, _LABELS, epochs=4, verbose=0, callbacks=[publish, history])

        assert epochs_done == len(getattr(history, "epoch", ()))
    assert [] == models.names()
