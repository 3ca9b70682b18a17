"""Models of any inputs and outputs give in jobs and calls what `model.predict` gives."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from fornada.formats.items import Array
from fornada.formats.tensor_file import Column
from model_store.engines import keras_setup

from .conftest import START_S

pytestmark = pytest.mark.slow

_CLOSE = 2e-5
_MODELS = 12
_ITEMS = 10
_WORDS = ["red", "green", "blue", "grün", ""]
_DTYPES = ("float32", "float16", "int32", "int64", "uint8", "bool", "string")


class _Case(NamedTuple):
    """A model, and its items: of each input an array, or an array an item."""

    model: Any
    items: dict[str, Column]


def _case(keras: Any, seed: int) -> _Case:
    """One to three inputs of any dtype, rank and length; one to three outputs of any rank."""
    rng = np.random.default_rng(seed)
    ops, layers = keras.ops, keras.layers
    inputs, pooled, items = [], [], {}
    for number in range(int(rng.integers(1, 4))):
        dtype, name = str(rng.choice(_DTYPES)), f"in_{number}"
        shape = [int(side) for side in rng.integers(1, 4, rng.integers(0, 4))]
        # Strings of any length make no tensor for `model.predict`.
        is_open = bool(shape) and dtype != "string" and rng.random() < 0.4
        taken = keras.Input([None, *shape[1:]] if is_open else shape, dtype=dtype, name=name)
        inputs.append(taken)
        items[name] = _items(rng, shape, dtype, is_open=is_open)
        numbers = taken
        if dtype == "string":
            numbers = layers.StringLookup(vocabulary=_WORDS[:3])(taken)
        numbers = ops.cast(numbers, "float32")
        pooled.append(ops.mean(numbers, axis=tuple(range(1, len(shape) + 1)), keepdims=False))
    hidden = layers.Dense(4)(ops.stack(pooled, axis=1))
    outputs = {}
    for number in range(int(rng.integers(1, 4))):
        shape = [int(side) for side in rng.integers(1, 4, rng.integers(1, 4))]
        flat = layers.Dense(int(np.prod(shape)), activation="tanh")(hidden)
        outputs[f"out_{number}"] = layers.Reshape(shape, name=f"out_{number}")(flat)
    return _Case(keras.Model(inputs, outputs), items)


def _items(rng: Any, shape: list[int], dtype: str, *, is_open: bool) -> Column:
    def some(*sides: int) -> Array:
        if dtype == "string":
            return np.array(rng.choice(_WORDS, sides), object)
        return np.asarray(rng.integers(0, 2 if dtype == "bool" else 5, sides)).astype(dtype)

    if is_open:
        return [some(int(rng.integers(1, 6)), *shape[1:]) for _ in range(_ITEMS)]
    return some(_ITEMS, *shape)


def _expected(case: _Case) -> dict[str, Array]:
    """What Keras gives, item by item."""
    import tensorflow as tf  # noqa: PLC0415 - seconds

    found = []
    for n in range(_ITEMS):
        item = {name: np.asarray(column[n])[np.newaxis] for name, column in case.items.items()}
        given = {k: tf.constant(v.tolist()) if v.dtype == object else v for k, v in item.items()}
        found.append(case.model.predict(given, verbose=0))
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


@pytest.mark.timeout(600)
def test_models_of_any_signature_give_what_keras_gives(
    deploy: Callable[..., tuple[Any, Callable[..., Any]]],
) -> None:
    from model_store import publish  # noqa: PLC0415 - imports Keras

    keras = keras_setup.import_keras()
    keras.utils.set_random_seed(3)
    deployment, start = deploy(engine="keras", max_loaded_models=_MODELS)
    cases = {f"model-{seed}": _case(keras, seed) for seed in range(_MODELS)}
    for name, case in cases.items():
        publish(case.model, name=name, store=deployment.models)
    start()
    client = deployment.client

    jobs = {
        (name, size): client.submit(_given(case), model=name, items_per_shard=size)
        for name, case in cases.items()
        for size in (1, 3, _ITEMS)
    }

    expected = {name: _expected(case) for name, case in cases.items()}
    for (name, size), job in jobs.items():
        status = job.wait(timeout_s=4 * START_S)
        assert "SUCCEEDED" == status.state, (name, size, deployment.log()[-3000:])
        _assert_close(expected[name], job.results().outputs, f"{name} by {size}")
    for name, case in cases.items():
        called = client.predict(_given(case), model=name, timeout_s=START_S)
        named = called if isinstance(called, dict) else {"out_0": called}
        _assert_close(expected[name], named, f"{name} called")


def _given(case: _Case) -> Any:
    return case.items if len(case.items) > 1 else case.items["in_0"]


def _assert_close(expected: dict[str, Array], outputs: dict[str, Any], what: str) -> None:
    assert expected.keys() == outputs.keys(), what
    for name, array in expected.items():
        assert (array.shape, array.dtype) == (outputs[name].shape, outputs[name].dtype), what
        np.testing.assert_allclose(array, outputs[name], atol=_CLOSE, rtol=_CLOSE, err_msg=what)
