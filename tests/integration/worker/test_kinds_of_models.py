"""One model of each kind that people have, from publishing to results, on Keras and on OpenVINO."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from fornada.formats.items import Array
from fornada.tensors import Kind
from model_store.engines import keras_setup
from model_store.store import ModelStore

from ...walls import no_wall
from .conftest import START_S

pytestmark = pytest.mark.slow

Deploy = Callable[..., tuple[Any, Callable[..., Any]]]

_CLOSE = 2e-5


class _Case(NamedTuple):
    """A model, its items, and what its output is."""

    model: Any
    items: Array
    kind: Kind


def _floats(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def _whole(high: int, *shape: int) -> NDArray[np.int32]:
    return np.random.default_rng(6).integers(1, high, shape).astype(np.int32)


def _as_a_course_writes_it(keras: Any) -> _Case:
    import tensorflow as tf  # noqa: PLC0415 - seconds

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Flatten(),
            layers.Dense(32, activation=tf.nn.relu),
            layers.Dropout(0.2),
            layers.Dense(10, activation=tf.nn.softmax),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    items = _floats(40, 28, 28)
    model.fit(items, np.arange(40) % 10, epochs=1, verbose=0)
    return _Case(model, items, "probabilities")


def _built_by_its_data(keras: Any) -> _Case:
    layers = keras.layers
    model = keras.Sequential(
        [layers.Dense(8, activation="relu"), layers.Dense(3, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    items = _floats(20, 6)
    model.fit(items, np.arange(20) % 3, verbose=0)
    return _Case(model, items, "probabilities")


def _of_vectors(keras: Any, count: int, activation: str | None, kind: Kind) -> _Case:
    taken = keras.Input((16,))
    hidden = keras.layers.Dense(8, activation="relu")(taken)
    given = keras.layers.Dense(count, activation=activation)(hidden)
    return _Case(keras.Model(taken, given), _floats(30, 16), kind)


def _embedding(keras: Any) -> _Case:
    layers = keras.layers
    taken = keras.Input((32, 32, 3))
    hidden = layers.Conv2D(8, 3)(layers.Rescaling(1 / 255)(taken))
    hidden = layers.Dense(24)(layers.GlobalAveragePooling2D()(hidden))
    items = np.abs(100 * _floats(9, 32, 32, 3)).clip(0, 255)
    return _Case(keras.Model(taken, layers.UnitNormalization()(hidden)), items, "embedding")


def _scalar(keras: Any) -> _Case:
    """Outputs of shape [items]."""
    taken = keras.Input((8,))
    given = keras.ops.squeeze(keras.layers.Dense(1)(taken), -1)
    return _Case(keras.Model(taken, given), _floats(9, 8), "values")


def _operations(keras: Any) -> _Case:
    """With slices and norms."""
    ops, taken = keras.ops, keras.Input((12,))
    hidden = ops.relu(keras.layers.Dense(8)(taken)) + 0.5
    hidden = hidden / ops.norm(hidden, axis=-1, keepdims=True)
    given = ops.softmax(keras.layers.Dense(4)(hidden[:, 2:7]))
    return _Case(keras.Model(taken, given), _floats(21, 12), "probabilities")


def _classified(keras: Any, taken: Any, pixels: Any, items: Array) -> _Case:
    layers = keras.layers
    hidden = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3)(pixels))
    given = layers.Dense(5, activation="softmax")(hidden)
    return _Case(keras.Model(taken, given), items, "probabilities")


def _bytes_cast(keras: Any) -> _Case:
    taken = keras.Input((24, 24, 3), dtype="uint8")
    items = np.random.default_rng(2).integers(0, 256, (7, 24, 24, 3), np.uint8)
    return _classified(keras, taken, keras.ops.cast(taken, "float32") / 127.5 - 1.0, items)


def _preprocessing(keras: Any) -> _Case:
    """With a constant tensor in the configuration."""
    taken = keras.Input((32, 32, 3))
    pixels = keras.applications.resnet50.preprocess_input(taken)
    return _classified(keras, taken, pixels, np.abs(99 * _floats(4, 32, 32, 3)).clip(0, 255))


def _augmentation(keras: Any) -> _Case:
    layers, taken = keras.layers, keras.Input((40, 40, 3))
    pixels = layers.RandomFlip()(layers.Rescaling(1 / 255)(layers.Resizing(32, 32)(taken)))
    return _classified(keras, taken, pixels, np.abs(99 * _floats(6, 40, 40, 3)).clip(0, 255))


def _any_size(keras: Any) -> _Case:
    taken = keras.Input((None, None, 3))
    pixels = keras.layers.Rescaling(1 / 255)(taken)
    return _classified(keras, taken, pixels, np.abs(99 * _floats(9, 24, 20, 3)).clip(0, 255))


def _attention(keras: Any) -> _Case:
    """With positions, which are a constant."""
    layers, taken = keras.layers, keras.Input((16,), dtype="int32")
    hidden = layers.Embedding(200, 16)(taken) + layers.Embedding(16, 16)(keras.ops.arange(16))
    hidden = layers.LayerNormalization()(hidden + layers.MultiHeadAttention(2, 8)(hidden, hidden))
    given = layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling1D()(hidden))
    return _Case(keras.Model(taken, given), _whole(200, 13, 16), "probabilities")


def _tokens(keras: Any, length: int | None, dtype: str) -> _Case:
    layers, taken = keras.layers, keras.Input((length,), dtype=dtype)
    hidden = layers.LSTM(8)(layers.Embedding(200, 16)(taken))
    given = layers.Dense(3, activation="softmax")(hidden)
    return _Case(keras.Model(taken, given), _whole(200, 9, 20).astype(dtype), "probabilities")


def _half_precision(keras: Any) -> _Case:
    taken = keras.Input((8,), dtype="float16")
    given = keras.layers.Dense(3, activation="softmax")(taken)
    return _Case(keras.Model(taken, given), _floats(12, 8).astype(np.float16), "probabilities")


def _quantized(keras: Any) -> _Case:
    case = _of_vectors(keras, 3, "softmax", "probabilities")
    with warnings.catch_warnings():
        # Of layers without weights.
        warnings.simplefilter("ignore")
        case.model.quantize("int8")
    return case


def _bins(keras: Any) -> _Case:
    layers, taken = keras.layers, keras.Input((1,))
    bins = layers.Discretization(bin_boundaries=[-1.0, 0.0, 1.0], output_mode="one_hot")(taken)
    given = layers.Dense(2, activation="softmax")(bins)
    return _Case(keras.Model(taken, given), _floats(9, 1), "probabilities")


_CASES: dict[str, Callable[[Any], _Case]] = {
    "as-a-course-writes-it": _as_a_course_writes_it,
    "built-by-its-data": _built_by_its_data,
    "binary": lambda keras: _of_vectors(keras, 1, "sigmoid", "binary"),
    "multilabel": lambda keras: _of_vectors(keras, 5, "sigmoid", "multilabel"),
    "value": lambda keras: _of_vectors(keras, 1, None, "values"),
    "embedding": _embedding,
    "scalar": _scalar,
    "operations": _operations,
    "bytes-cast": _bytes_cast,
    "preprocessing": _preprocessing,
    "augmentation": _augmentation,
    "any-size": _any_size,
    "attention": _attention,
    "int64-tokens": lambda keras: _tokens(keras, 20, "int64"),
    "tokens-of-any-length": lambda keras: _tokens(keras, None, "int32"),
    "half-precision": _half_precision,
    "quantized": _quantized,
    "bins": _bins,
}


@pytest.fixture(scope="module")
def cases() -> dict[str, _Case]:
    keras = keras_setup.import_keras()
    keras.utils.set_random_seed(11)
    return {name: make(keras) for name, make in _CASES.items()}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_each_kind_gives_in_a_job_what_keras_gives(
    engine: str, cases: dict[str, _Case], deploy: Deploy
) -> None:
    from model_store import publish  # noqa: PLC0415 - imports Keras

    deployment, start = deploy(engine=engine, max_loaded_models=2)
    models = ModelStore(objects=deployment.objects, open_wall=no_wall)
    manifests = {
        name: publish(case.model, name=name, golden=case.items[:4], store=models)
        for name, case in cases.items()
    }
    start()

    jobs = {
        name: deployment.client.submit(case.items, model=name, items_per_shard=7)
        for name, case in cases.items()
    }

    assert {name: case.kind for name, case in cases.items()} == {
        name: manifest.output.kind for name, manifest in manifests.items()
    }
    for name, job in jobs.items():
        status = job.wait(timeout_s=4 * START_S)
        assert "SUCCEEDED" == status.state, (name, status.reason, deployment.log()[-3000:])
        case = cases[name]
        expected = case.model.predict(case.items, verbose=0)
        (outputs,) = job.results().outputs.values()
        assert expected.shape == outputs.shape, name
        np.testing.assert_allclose(expected, outputs, atol=_CLOSE, rtol=_CLOSE, err_msg=name)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_a_token_out_of_the_vocabulary_fails_alone(
    engine: str, cases: dict[str, _Case], deploy: Deploy
) -> None:
    from model_store import publish  # noqa: PLC0415 - imports Keras

    # given sequences of which two have a token that the embedding of 200 has no row for; for -1
    # Keras takes the last row
    deployment, start = deploy(engine=engine)
    case = cases["tokens-of-any-length"]
    good, items = case.items.copy(), case.items.copy()
    items[3, 7], items[5, 0] = 200, -201
    good[7, 7] = items[7, 7] = -1
    models = ModelStore(objects=deployment.objects, open_wall=no_wall)
    publish(case.model, name="tokens", golden=good[:4], store=models)
    start()

    job = deployment.client.submit(items, model="tokens", items_per_shard=5)

    assert "PARTIAL" == job.wait(timeout_s=4 * START_S).state, deployment.log()[-3000:]
    results = job.results()
    assert [3, 5] == sorted(results.errors)
    others = np.delete(np.arange(len(items)), [3, 5])
    expected = case.model.predict(good[others], verbose=0)
    np.testing.assert_allclose(expected, results.probabilities[others], atol=_CLOSE, rtol=_CLOSE)
