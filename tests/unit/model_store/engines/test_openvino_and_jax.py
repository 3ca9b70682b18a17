"""Models written by TensorFlow, on each other engine in another process: Keras has one backend."""

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from fornada.errors import ConfigError
from fornada.tensors import Dtype
from model_store.engines import keras_file, keras_setup
from model_store.engines.golden import BFLOAT16_TOLERANCE

from ....arrays import compile_predict

_ROOT = Path(__file__).parents[4]
_ITEMS = 20
#: Of the items of models that take any size.
_OPEN_SIDE = 9


def _mlp(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4, 4), dtype="uint8"),
            layers.Flatten(),
            layers.Rescaling(1 / 255),
            layers.Dense(16, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(3, activation="softmax"),
        ]
    )


def _cnn(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), dtype="uint8"),
            layers.RandomFlip(),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.MaxPooling2D(),
            layers.SeparableConv2D(4, 3),
            layers.ReLU(),
            layers.AveragePooling2D(2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
            layers.Softmax(),
        ]
    )


def _functional(keras: Any) -> Any:
    layers = keras.layers
    pixels = keras.Input((8, 8, 1), dtype="uint8")
    x = layers.Conv2D(4, 3)(pixels / 255)
    x = layers.Add()([x, layers.LayerNormalization()(x)])
    return keras.Model(pixels, layers.Dense(3)(layers.GlobalMaxPooling2D()(x)))


def _sequence(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(10, 4, mask_zero=True),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.GRU(3),
            layers.Dense(2, activation="softmax"),
        ]
    )


def _regression(keras: Any) -> Any:
    layers = keras.layers
    normalize = layers.Normalization(mean=[1.0] * 5, variance=[2.0] * 5)
    return keras.Sequential([keras.Input((5,)), normalize, layers.Dense(1)])


def _of_dtype(dtype: str) -> Callable[[Any], Any]:
    def build(keras: Any) -> Any:
        items = keras.Input((5,), dtype=dtype)
        return keras.Model(items, keras.layers.Dense(2)(keras.ops.cast(items, "float32") / 10))

    return build


def _scalar(keras: Any) -> Any:
    items = keras.Input((5,))
    return keras.Model(items, keras.ops.squeeze(keras.layers.Dense(1)(items), -1))


def _of_any_length(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int64"),
            layers.Embedding(10, 4),
            layers.LSTM(3),
            layers.Dense(2, activation="softmax"),
        ]
    )


def _of_any_size(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.DepthwiseConv2D(3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )


def _encoding(keras: Any) -> Any:
    layers = keras.layers
    encode = layers.CategoryEncoding(10, output_mode="multi_hot")
    return keras.Sequential([keras.Input((6,), dtype="int32"), encode, layers.Dense(2)])


def _hashing(keras: Any) -> Any:
    layers = keras.layers
    hashed = layers.Hashing(10, output_mode="multi_hot", name="hashed")
    return keras.Sequential([keras.Input((6,), dtype="int32"), hashed, layers.Dense(2)])


_MODELS: dict[str, Callable[[Any], Any]] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "functional": _functional,
    "sequence": _sequence,
    "regression": _regression,
    "scalar": _scalar,
    "of any length": _of_any_length,
    "of any size": _of_any_size,
    "encoding": _encoding,
    "hashing": _hashing,
    **{f"{dtype} items": _of_dtype(dtype) for dtype in get_args(Dtype) if dtype != "string"},
}
#: `test_jax` has what JAX must prove in a hurry.
_JAX = pytest.param("jax", marks=pytest.mark.slow)
_ENGINES = ("openvino", _JAX)
#: What an engine lacks.
_LACKS = {"openvino": {"encoding", "hashing"}, "jax": {"hashing"}}
_RUNS = [
    *(("openvino", name) for name in _MODELS if name not in _LACKS["openvino"]),
    *(
        pytest.param("jax", name, marks=pytest.mark.slow)
        for name in _MODELS
        if name not in _LACKS["jax"]
    ),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models that TensorFlow built."""
    folder = tmp_path_factory.mktemp("models")
    keras = keras_setup.import_keras()
    keras.utils.set_random_seed(1)
    for name, build in _MODELS.items():
        _write(folder / name, build(keras))
    _write_several(folder / "several", keras)
    return folder


@pytest.fixture(scope="module")
def answers_of(models: Path) -> Callable[[str], dict[str, Any]]:
    """The answers of `engine_answers.py` on an engine."""

    @functools.cache
    def answers(engine: str) -> dict[str, Any]:
        if find_spec(engine) is None:
            pytest.skip(f"{engine} is not installed")
        return _answers(engine, models)

    return answers


@pytest.fixture(params=_ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """One of the engines."""
    return str(request.param)


@pytest.fixture
def answers(answers_of: Callable[[str], dict[str, Any]], engine: str) -> dict[str, Any]:
    """The answers of one of the engines."""
    return answers_of(engine)


def _answers(engine: str, folder: Path) -> dict[str, Any]:
    program = Path(__file__).with_name("engine_answers.py")
    done = subprocess.run(
        [sys.executable, str(program), engine, str(folder)],
        env={**_environ(), "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}


def _write_several(folder: Path, keras: Any) -> None:
    """A model of a photograph and words that gives a mask, classes and a whole number."""
    folder.mkdir()
    layers, ops = keras.layers, keras.ops
    photo = keras.Input((8, 8, 3), dtype="uint8", name="photo")
    words = keras.Input((4,), dtype="int32", name="words")
    mask = layers.Conv2D(2, 3, padding="same", activation="softmax")(layers.Rescaling(1 / 9)(photo))
    read = layers.GlobalAveragePooling1D()(layers.Embedding(10, 4)(words))
    both = layers.Concatenate()([layers.GlobalAveragePooling2D()(mask), read])
    kind = layers.Dense(3, activation="softmax")(both)
    outputs = {"mask": mask, "kind": kind, "likeliest": ops.argmax(kind, axis=-1)}
    model = keras.Model({"photo": photo, "words": words}, outputs)
    rng = np.random.default_rng(2)
    given = {
        "photo": rng.integers(0, 10, (_ITEMS, 8, 8, 3)).astype(np.uint8),
        "words": rng.integers(0, 10, (_ITEMS, 4)).astype(np.int32),
    }
    given_back = {name: np.asarray(array) for name, array in model(given).items()}
    (folder / "model.keras").write_bytes(keras_file.dump_model(model))
    np.savez(folder / "model.npz", **given, **dict(sorted(given_back.items())))


def _write(path: Path, model: Any) -> None:
    tensor = model.inputs[0]
    item_shape, item_dtype = tuple(tensor.shape[1:]), str(tensor.dtype)
    shape = [side or _OPEN_SIDE for side in item_shape]
    items = np.random.default_rng(0).integers(0, 10, (_ITEMS, *shape))
    items = items.astype("float32" if item_dtype == "bfloat16" else item_dtype)
    predict = compile_predict(
        model, tile_items=_ITEMS, item_shape=item_shape, item_dtype=item_dtype
    )
    path.with_suffix(".keras").write_bytes(keras_file.dump_model(model))
    takes = {"item_shape": item_shape, "item_dtype": item_dtype}
    path.with_suffix(".json").write_text(json.dumps(takes))
    np.savez(path.with_suffix(".npz"), items=items, outputs=predict(items))


@pytest.mark.parametrize(("engine", "name"), _RUNS)
def test_it_gives_what_tensorflow_gives_in_any_batch_for_any_caller(
    answers: dict[str, Any], name: str
) -> None:
    found = answers[name]

    assert 1e-5 > found["difference"]
    assert found["same_in_any_batch"]
    assert found["same_in_one_stream"]
    assert found["same_for_many_callers"]


def test_an_index_outside_of_its_table_fails_as_on_tensorflow(answers: dict[str, Any]) -> None:
    # Of 10 tokens; negative ones count from the end.
    refusals = dict(answers["tokens"])
    assert ["nothing was raised"] * 2 == [refusals.pop(token) for token in ("9", "-10")]
    assert {"10", "-11", str(2**32 + 5)} == set(refusals)
    for refusal in refusals.values():
        assert refusal.startswith("PredictionError: predict failed on int64 (1, 4): ")
        assert "an index is outside of its table" in refusal or "are over 32 bits" in refusal


def test_a_size_that_is_too_small_fails_and_leaves_no_garbage(answers: dict[str, Any]) -> None:
    for side in range(1, 8):
        assert answers["too small"][side - 1].startswith(
            f"PredictionError: the model cannot take items of shape [{side}, {side}, 3]: "
        )
    assert "nothing was raised" == answers["too small"][7]


def test_neither_tensorflow_nor_telemetry_nor_what_is_not_needed_is_imported(
    answers: dict[str, Any], engine: str
) -> None:
    imported = set(answers["imported"])

    assert {"keras", engine} <= imported
    of_the_converter = {"openvino_telemetry", "tensorflow"}
    of_keras = {"PIL", "matplotlib", "requests", "sklearn"}
    assert set() == (of_the_converter | of_keras) & imported
    # JAX needs SciPy, and nothing else needs JAX, even where it is installed.
    assert (engine == "jax") == ("scipy" in imported)
    assert (engine == "jax") == ("jax" in imported)


@pytest.mark.parametrize("engine", [_JAX])
def test_the_name_states_version_precision_and_device(answers: dict[str, Any]) -> None:
    assert f"jax {version('jax')} float32 cpu" == answers["name"]


@pytest.mark.parametrize("engine", ["openvino"])
def test_a_layer_that_openvino_lacks_is_named_with_the_engine_that_has_it(
    answers: dict[str, Any],
) -> None:
    refusal = answers["encoding"]["refused"]

    assert refusal.startswith(
        "ModelRefusedError: the model does not take int32 [8, 6] on OpenVINO "
        "(CategoryEncoding.call()"
    )
    assert refusal.endswith("or predict it with FORNADA_ENGINE=keras")


def test_a_layer_that_only_tensorflow_has_is_named_with_the_engine_that_has_it(
    answers: dict[str, Any], engine: str
) -> None:
    assert (
        "ModelRefusedError: hashing has a layer 'hashed' (Hashing), which Keras has on TensorFlow "
        f"and not on {engine}; FORNADA_ENGINE=keras predicts it, and publishes it where TensorFlow "
        "is installed (pip install 'fornada[worker]')" == answers["hashing"]["refused"]
    )


def test_tiles_and_items_of_another_shape_are_refused(answers: dict[str, Any], engine: str) -> None:
    assert answers["wrong tile"].startswith(
        "PredictionError: predict failed on float64 (7, 4, 4): "
    )
    assert answers["wrong shape"].startswith(
        "ModelRefusedError: the model does not take uint8 [8, 5, 5] on "
        f"{'JAX' if engine == 'jax' else 'OpenVINO'} ("
    )


def test_bfloat16_is_within_its_tolerance_where_the_cpu_has_it(
    answers: dict[str, Any], engine: str
) -> None:
    found = answers["bfloat16"]
    if "refused" in found:
        pytest.skip(found["refused"])

    assert {"mlp", "cnn"} == found["differences"].keys()
    # One that computes in float32 is closer.
    assert all(1e-6 < off < BFLOAT16_TOLERANCE for off in found["differences"].values())
    assert found["same in any batch"]
    device = " cpu" if engine == "jax" else ""
    assert f"{engine} {version(engine)} bfloat16{device}" == found["name"]


@pytest.mark.parametrize("engine", ["openvino"])
def test_bfloat16_is_refused_on_a_cpu_that_lacks_it(answers: dict[str, Any]) -> None:
    assert answers["no bfloat16"].startswith("ConfigError: this CPU does not compute in bfloat16")


def test_a_process_whose_keras_runs_on_tensorflow_is_refused() -> None:
    keras_setup.import_keras()

    for backend in ("jax", "openvino"):
        with pytest.raises(ConfigError, match="Keras already runs on tensorflow in this process"):
            keras_setup.import_keras(backend)


def test_several_inputs_and_outputs_are_those_of_tensorflow(answers: dict[str, Any]) -> None:
    several = answers["several"]

    assert {"mask", "kind", "likeliest"} == several["differences"].keys()
    assert all(difference <= 1e-5 for difference in several["differences"].values())
    assert {"mask": "float32", "kind": "float32", "likeliest": "int32"} == several["dtypes"]
    assert "outside of its table" in several["outside of the table"]


def test_text_is_refused_before_keras_fails_over_it(answers: dict[str, Any]) -> None:
    assert re.search("m:1 takes text in its input 'text'.* FORNADA_ENGINE=keras", answers["text"])
