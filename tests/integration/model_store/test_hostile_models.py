"""Small files that would take a machine: each ends within the limits of the wall."""

import io
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fornada.errors import ModelRefusedError
from fornada.storage.memory import InMemoryObjectStore
from model_store.engines import keras_file, keras_setup
from model_store.publishing.file import publish_file
from model_store.store import ModelStore
from model_store.wall.limits import WallLimits
from model_store.wall.messages import Check, Passed
from model_store.wall.process import WallProcess

_TIME_S = 40.0
#: On top of the wall's time: hashing, storing, and ending what it started.
_MARGIN_S = 10.0
_HUGE = 6 * 10**8

_Config = dict[str, Any]


def _layer(name: str, /, **config: Any) -> _Config:
    return {
        "module": "keras.layers",
        "class_name": name,
        "config": config,
        "registered_name": None,
    }


def _sequential(*layers: _Config, shape: tuple[int, ...] = (8, 4)) -> _Config:
    all_layers = [_layer("InputLayer", batch_shape=[None, *shape], dtype="float32"), *layers]
    for number, layer in enumerate(all_layers):
        layer["config"].setdefault("name", f"layer_{number}")
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "net", "layers": all_layers},
        "registered_name": None,
    }


def _pooled(*layers: _Config, shape: tuple[int, ...] = (8, 4)) -> _Config:
    return _sequential(*layers, _layer("GlobalAveragePooling1D"), shape=shape)


_FILES: dict[str, Callable[[], _Config]] = {
    # Native code of these ends the process.
    "window of 2^17": lambda: _pooled(
        _layer("UpSampling1D", size=2**15),
        _layer("AveragePooling1D", pool_size=2**17, strides=1, padding="same"),
    ),
    "window of 2^30": lambda: _pooled(
        _layer("MaxPooling1D", pool_size=2**30, strides=1, padding="same")
    ),
    "slopes of its build": lambda: _pooled(
        {**_layer("PReLU"), "build_config": {"input_shape": [None, 8, _HUGE]}}
    ),
    "Fourier transform": lambda: _pooled(
        _layer(
            "STFTSpectrogram",
            mode="log",
            frame_length=4,
            frame_step=1,
            fft_length=2**24,
            padding="same",
        ),
        shape=(8, 1),
    ),
    "large numbers 200 times": lambda: _pooled(
        _layer("UpSampling1D", size=2**21), *[_layer("ReLU") for _ in range(200)]
    ),
    "adapters": lambda: _pooled(_layer("Dense", units=2, lora_rank=10**9)),
    "slow resizing": lambda: _sequential(
        _layer("Resizing", height=8000, width=8000, interpolation="lanczos5"),
        _layer("GlobalAveragePooling2D"),
        shape=(8, 8, 3),
    ),
}


@pytest.fixture(scope="module")
def weights() -> dict[str, bytes]:
    """The members of a harmless file of one Dense."""
    keras = keras_setup.import_keras()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with zipfile.ZipFile(io.BytesIO(keras_file.dump_model(model))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class _Measured(WallProcess):
    """A wall that checks what a model took that passed."""

    def check(self, request: Check) -> Passed:
        passed = super().check(request)
        # Pages of files are no data.
        assert passed.peak_bytes < self._limits.data_bytes + 2**30
        return passed


def _shorter(limits: WallLimits) -> WallLimits:
    return replace(limits, time_s=_TIME_S)


def _publish(config: _Config, weights: dict[str, bytes]) -> str:
    """Publish a model of this configuration; say what became of it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**weights, "config.json": json.dumps(config).encode()}.items():
            archive.writestr(name, data)
    models = ModelStore(
        objects=InMemoryObjectStore(), open_wall=lambda limits: _Measured(_shorter(limits))
    )
    began_s = time.monotonic()
    try:
        publish_file(buffer.getvalue(), where="m.keras", name="m", models=models)
    except ModelRefusedError as exc:
        end = str(exc)
    else:
        end = "published"
    # Two requests, each with its own time.
    assert time.monotonic() - began_s < 2 * _TIME_S + _MARGIN_S
    assert (end == "published") == (models.names() == ["m"])
    return end


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", _FILES)
def test_a_hostile_file_ends_within_the_limits(name: str, weights: dict[str, bytes]) -> None:
    end = _publish(_FILES[name](), weights)

    assert end == "published" or "m.keras" in end


_SIZES = st.integers(0, 31).flatmap(lambda bits: st.integers(1, 2**bits))
_LAYERS = st.one_of(
    st.builds(lambda n: _layer("UpSampling1D", size=n), _SIZES),
    st.builds(lambda n: _layer("ZeroPadding1D", padding=n), _SIZES),
    *(
        st.builds(
            lambda n, s, pool=pool: _layer(pool, pool_size=n, strides=s, padding="same"),
            _SIZES,
            _SIZES,
        )
        for pool in ("MaxPooling1D", "AveragePooling1D")
    ),
    st.builds(lambda n, m: _layer("Reshape", target_shape=[n, m]), _SIZES, _SIZES),
    st.builds(lambda n: _layer("Dense", units=n), _SIZES),
    st.builds(
        lambda n, k, d: _layer("Conv1D", filters=n, kernel_size=k, dilation_rate=d, padding="same"),
        _SIZES,
        _SIZES,
        _SIZES,
    ),
    st.builds(lambda n: _layer("LSTM", units=n, return_sequences=True), _SIZES),
    st.builds(lambda n: _layer("SimpleRNN", units=n, unroll=True, return_sequences=True), _SIZES),
    st.builds(lambda: _layer("Softmax")),
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=12, deadline=None)
@given(layers=st.lists(_LAYERS, min_size=1, max_size=6), depth=st.integers(0, 30))
def test_whatever_sizes_and_depths_a_file_has_it_ends_within_the_limits(
    layers: list[_Config], depth: int, weights: dict[str, bytes]
) -> None:
    config = _pooled(*layers)
    for _ in range(depth):
        config = _sequential(config)

    _publish(config, weights)
