"""Make and run models on JAX for `test_jax`, in a process of its own; JSON on stdout."""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from fornada.errors import FornadaError
from fornada.formats.rows import Rows
from fornada.tensors import InputTensor, OutputTensor
from model_store.engines.catalog import open_engine, publishing_engine
from model_store.engines.interface import Engine, Predict
from model_store.engines.jax.depthwise import fast_depthwise
from model_store.engines.keras_file import load_model, save_model
from model_store.engines.keras_setup import import_keras
from model_store.publishing.checked import packages
from model_store.scratch import scratch_folder

_ROWS = 64
_PIXELS = InputTensor(name="pixels", dtype="uint8", shape=[28, 28])
#: Size of the kernel, stride, dilation, outputs of a channel.
_DEPTHWISE = [(1, 1, 1, 1), (3, 1, 1, 1), (3, 2, 1, 1), (5, 3, 1, 2), (2, 1, 2, 3), (10, 1, 1, 1)]
_TOKENS = InputTensor(name="tokens", dtype="int64", shape=[4])


def main() -> None:
    """Print all answers."""
    before = dict(os.environ)
    engine = open_engine("jax", threads=2)
    after = dict(os.environ)
    keras = import_keras()
    answers: dict[str, Any] = {
        "name": engine.name,
        "set for the start alone": {
            name: (before.get(name), after.get(name)) for name in ("KERAS_BACKEND", "NPROC")
        },
        "publishing engine": publishing_engine(),
        "packages": packages(),
        **_of_images(engine, keras),
        "normalized": _of_normalized(engine, keras),
        "depthwise": _of_depthwise(engine, keras),
        **_of_tokens(engine, keras),
    }
    loaded = {name.partition(".")[0] for name, module in sys.modules.items() if module is not None}
    json.dump({**answers, "imported": sorted(loaded)}, sys.stdout)


def _of_images(engine: Engine, keras: Any) -> dict[str, Any]:
    layers = keras.layers
    pixels = keras.Input((28, 28), dtype="uint8")
    hidden = layers.Dense(2048, activation="relu")(layers.Flatten()(layers.Rescaling(0.01)(pixels)))
    # An output that is the input, as it was given.
    unscaled = layers.Dense(3)(hidden)
    scaled = unscaled / keras.ops.norm(unscaled, axis=-1, keepdims=True)
    model = keras.Model(pixels, [scaled, layers.Identity()(pixels)])
    gives = [
        OutputTensor(name="numbers", shape=[3], kind="values"),
        OutputTensor(name="pixels", dtype="uint8", shape=[28, 28], kind="tensor"),
    ]
    predict = _compiled(engine, model, _PIXELS, gives)
    rng = np.random.default_rng(1)
    items, others = rng.integers(0, 256, (2, _ROWS, 28, 28), np.uint8)
    numbers, same = predict(Rows(items)).arrays
    kept = numbers.tobytes(), same.tobytes()
    predict(Rows(others))
    wanted = np.asarray(keras.Model(pixels, unscaled)(items))
    wanted = wanted / np.linalg.norm(wanted, axis=-1, keepdims=True)
    return {
        "difference": float(np.abs(numbers - wanted).max() / np.abs(wanted).max()),
        "same again after another call": kept == (numbers.tobytes(), same.tobytes())
        and np.array_equal(items, same),
        **_ticks(lambda: predict(Rows(items))),
    }


def _of_normalized(engine: Engine, keras: Any) -> dict[str, int]:
    """What a load and calls take of a network in which much is computed from the weights alone."""
    layers = keras.layers
    pixels = keras.Input((28, 28), dtype="uint8")
    hidden = layers.Reshape((28, 28, 1))(layers.Rescaling(0.01)(pixels))
    for _ in range(24):
        added = layers.Conv2D(8, 3, padding="same", activation="relu")(hidden)
        hidden = layers.Add()([hidden, layers.BatchNormalization()(added)])
    model = keras.Model(pixels, layers.Dense(3)(layers.GlobalAveragePooling2D()(hidden)))
    gives = [OutputTensor(name="numbers", shape=[3], kind="values")]
    predict = _compiled(engine, model, _PIXELS, gives)
    items = np.random.default_rng(1).integers(0, 256, (_ROWS, 28, 28), np.uint8)
    predict(Rows(items))
    with scratch_folder() as folder:
        save_model(model, folder / "m.keras")
        loaded: list[Any] = []
        programs = _programs(
            lambda: loaded.append(load_model(folder / "m.keras", where="m", backend="jax"))
        )
    same = zip(model.get_weights(), loaded[0].get_weights(), strict=True)
    return {
        **_ticks(lambda: predict(Rows(items))),
        "looks": _looks(lambda: predict(Rows(items))),
        "programs of a load": programs,
        "same weights": all(given.tobytes() == read.tobytes() for given, read in same),
    }


def _of_depthwise(engine: Engine, keras: Any) -> dict[str, Any]:
    """Whether XLA convolves in groups, and how far sums of products are from Keras's."""
    layers = keras.layers
    pixels = keras.Input((28, 28), dtype="uint8")
    hidden = layers.Reshape((28, 28, 1))(layers.Rescaling(0.01)(pixels))
    hidden = layers.DepthwiseConv2D(3)(layers.SeparableConv2D(4, 3)(layers.Conv2D(4, 3)(hidden)))
    model = keras.Model(pixels, layers.Dense(3)(layers.GlobalAveragePooling2D()(hidden)))
    gives = [OutputTensor(name="numbers", shape=[3], kind="values")]
    jax: Any = sys.modules["jax"]
    convolve = jax.lax.conv_general_dilated
    with mock.patch.object(jax.lax, "conv_general_dilated", wraps=convolve) as convolved:
        _compiled(engine, model, _PIXELS, gives)
    return {
        "groups": [call.kwargs["feature_group_count"] for call in convolved.call_args_list],
        "differences": [
            _depthwise_difference(keras, *case, sides=sides)
            for case in _DEPTHWISE
            for sides in ((13,), (13, 12))
        ],
    }


def _depthwise_difference(
    keras: Any, size: int, stride: int, dilation: int, multiplier: int, *, sides: tuple[int, ...]
) -> float:
    rng = np.random.default_rng(1)
    items = rng.normal(size=(2, *sides, 5)).astype(np.float32)
    kernel = rng.normal(size=(*(size for _ in sides), 5, multiplier)).astype(np.float32)

    def convolved() -> list[Any]:
        def both(items: Any, kernel: Any) -> list[Any]:
            return [
                keras.ops.depthwise_conv(
                    items,
                    kernel,
                    strides=stride if len(sides) == 1 else (stride, stride),
                    padding=padding,
                    dilation_rate=dilation,
                    data_format="channels_last",
                )
                for padding in ("same", "valid")
            ]

        # One program, where each operation by itself would be one.
        jax: Any = sys.modules["jax"]
        return [np.asarray(each) for each in jax.jit(both)(items, kernel)]

    expected = convolved()
    with fast_depthwise():
        found = convolved()
    assert [each.shape for each in expected] == [each.shape for each in found]
    return max(float(np.abs(e - f).max()) for e, f in zip(expected, found, strict=True))


def _programs(call: Any) -> int:
    """How many programs a call compiles."""
    monitoring: Any = sys.modules["jax"].monitoring
    compiled: list[str] = []

    def hear(event: str, _duration_s: float, **_about: Any) -> None:
        if "backend_compile" in event:
            compiled.append(event)

    monitoring.register_event_duration_secs_listener(hear)
    try:
        call()
    finally:
        monitoring.unregister_event_duration_listener(hear)
    return len(compiled)


def _looks(call: Any) -> int:
    """How often a call looks for devices."""
    jax: Any = sys.modules["jax"]
    with mock.patch.object(jax, "devices", wraps=jax.devices) as devices:
        call()
    return int(devices.call_count)


def _ticks(call: Any) -> dict[str, int]:
    """CPU time of this thread, and of all others that are there before and after."""
    before = _ticks_by_thread()
    end_s = time.thread_time() + 0.25
    while time.thread_time() < end_s:
        call()
    spent = {
        thread: ticks - before[thread]
        for thread, ticks in _ticks_by_thread().items()
        if thread in before
    }
    own = spent.pop(str(threading.get_native_id()))
    return {"ticks of the caller": own, "ticks of others": sum(spent.values())}


def _ticks_by_thread() -> dict[str, int]:
    found = {}
    for folder in Path("/proc/self/task").iterdir():
        # After the name, which may have spaces.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        found[folder.name] = int(fields[11]) + int(fields[12])
    return found


def _of_tokens(engine: Engine, keras: Any) -> dict[str, str]:
    tokens = keras.Input((4,), dtype="int64")
    found = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(10, 2)(tokens))
    gives = [OutputTensor(name="means", shape=[2], kind="values")]
    predict = _compiled(engine, keras.Model(tokens, found), _TOKENS, gives)

    def refusal(token: int) -> str:
        items = np.ones((_ROWS, 4), np.int64)
        items[5, 2] = token
        try:
            predict(Rows(items))
        except FornadaError as exc:
            return f"{type(exc).__name__}: {exc}"
        return "nothing was raised"

    return {"token 10": refusal(10), "token 2**32": refusal(2**32)}


def _compiled(engine: Engine, model: Any, taken: InputTensor, gives: list[OutputTensor]) -> Predict:
    with scratch_folder() as folder:
        save_model(model, folder / "m.keras")
        loaded = engine.load(
            folder / "m.keras", where="m", takes=[taken], gives=gives, allowed_objects=()
        )
    return loaded.compile(_ROWS)


if __name__ == "__main__":
    main()
