"""Real Keras models to bytes and back, and their compiled predict call."""

import datetime as dt
import io
import os
import subprocess
import sys
import tempfile
import textwrap
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fornada.errors import LocalDiskError, ModelRefusedError, PredictionError, UsageError
from model_store.engines import golden, interface, keras_file, keras_predict, keras_setup
from model_store.engines.artifact.work import estimate

_TILE_ITEMS = 8


@pytest.fixture(scope="module")
def keras() -> Any:
    return keras_setup.import_keras()


@pytest.fixture(scope="module")
def model(keras: Any) -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((4, 4), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    # As after training: the graph leaves out a bias of zero.
    for weight in model.weights:
        weight.assign_add(np.random.default_rng(1).uniform(0, 0.1, weight.shape))
    return model


@pytest.fixture(scope="module")
def predict(model: Any) -> interface.Predict:
    return keras_predict.compile_predict(
        model, tile_items=_TILE_ITEMS, item_shape=(4, 4), item_dtype="uint8"
    )


def _items(count: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, 4, 4), dtype=np.uint8)


def _functional(keras: Any) -> Any:
    layers = keras.layers
    pixels = keras.Input((8, 8, 1), dtype="uint8")
    x = layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2")(pixels / 255)
    x = layers.Add()([x, layers.BatchNormalization()(x)])
    x = layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(x))
    model = keras.Model(pixels, layers.Softmax()(layers.Dense(3)(x)))
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model.compile(
        optimizer=keras.optimizers.SGD(rate),
        loss=keras.losses.sparse_categorical_crossentropy,
        metrics=[keras.metrics.SparseTopKCategoricalAccuracy(k=2)],
    )
    return model


def _recurrent(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(10, 4),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.GRU(3),
            layers.Dense(2, activation="softmax", kernel_constraint="max_norm"),
        ]
    )


def test_a_model_gives_the_same_outputs_after_a_round_trip(
    model: Any, predict: interface.Predict
) -> None:
    loaded = keras_file.load_model(keras_file.dump_model(model), where="the artifact")
    again = keras_predict.compile_predict(
        loaded, tile_items=_TILE_ITEMS, item_shape=(4, 4), item_dtype="uint8"
    )

    np.testing.assert_array_equal(predict(_items(8)), again(_items(8)))


def _of_small_layers(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(10, 1),
            layers.Conv1D(1, 1),
            layers.SeparableConv1D(2, 1, depth_multiplier=2),
            layers.LSTM(1),
            layers.Dense(1, use_bias=False),
        ]
    )


def test_models_of_other_built_in_layers_load(keras: Any) -> None:
    for build in (_functional, _recurrent, _of_small_layers):
        model = build(keras)

        loaded = keras_file.load_model(keras_file.dump_model(model), where="the artifact")

        assert model.count_params() == loaded.count_params()


def test_the_same_model_gives_the_same_bytes(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = keras_file.dump_model(model)

    from keras.src.saving import saving_lib  # noqa: PLC0415 - TensorFlow takes seconds

    # Keras writes today's date.
    later = SimpleNamespace(now=lambda: dt.datetime(2040, 1, 1, tzinfo=dt.UTC))
    monkeypatch.setattr(saving_lib, "datetime", SimpleNamespace(datetime=later))

    assert first == keras_file.dump_model(model)


def test_a_configuration_that_keras_cannot_build_is_refused(model: Any) -> None:
    data = keras_file.dump_model(model).replace(b'"units": 8', b'"units": 0')

    with pytest.raises(ModelRefusedError) as refusal:
        keras_file.load_model(_with_true_crc(data), where="the artifact")

    assert str(refusal.value).startswith("the artifact cannot be loaded by Keras 3")
    assert "\n" not in str(refusal.value)


def _with_true_crc(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(buffer, "w") as written:
        for info in given.infolist():
            with given.open(info) as member:
                member._expected_crc = None  # type: ignore[attr-defined]  # the damage is ours
                written.writestr(info.filename, member.read())
    return buffer.getvalue()


def test_a_full_temporary_folder_is_a_local_disk_error(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = keras_file.dump_model(model)
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null/nowhere")

    for call in (
        lambda: keras_file.dump_model(model),
        lambda: keras_file.load_model(data, where="the artifact"),
    ):
        with pytest.raises(LocalDiskError, match="temporary folder /dev/null/nowhere"):
            call()


def test_outputs_are_probabilities_of_every_item(predict: interface.Predict) -> None:
    outputs = predict(_items(_TILE_ITEMS))

    assert (np.float32, (_TILE_ITEMS, 3)) == (outputs.dtype, outputs.shape)
    np.testing.assert_allclose(1, outputs.sum(axis=1), rtol=1e-5)


def test_a_row_has_the_same_bytes_in_any_batch(predict: interface.Predict) -> None:
    items = _items(20)
    everything = golden.predict_items(predict, items, tile_items=_TILE_ITEMS)

    for count in (1, 7, 8, 9, 20):
        found = golden.predict_items(predict, items[-count:], tile_items=_TILE_ITEMS)
        assert everything[-count:].tobytes() == found.tobytes()


def test_a_tile_of_another_shape_is_refused(predict: interface.Predict) -> None:
    with pytest.raises(PredictionError, match=r"predict failed on uint8 \(7, 4, 4\)"):
        predict(_items(7))


def test_an_item_shape_that_the_model_does_not_take_is_refused(model: Any) -> None:
    for item_shape in ((5, 5), (3,)):
        with pytest.raises(ModelRefusedError, match=r"does not take uint8 \[8, ") as refusal:
            keras_predict.compile_predict(
                model, tile_items=_TILE_ITEMS, item_shape=item_shape, item_dtype="uint8"
            )
        assert "\n" not in str(refusal.value)


def test_a_refusal_says_what_to_do_about_stateful_layers_and_odd_names(keras: Any) -> None:
    steps = keras.Input(batch_shape=(2, 4, 4))
    named = keras.Input((4, 4))
    models = {
        "build it with stateful=False": keras.Model(
            steps, keras.layers.LSTM(2, stateful=True)(steps)
        ),
        "another name than 'meu modelo'": keras.Model(
            named, keras.layers.Dense(2)(keras.layers.Flatten()(named)), name="meu modelo"
        ),
    }

    def compiled(model: Any) -> Future[Any]:
        return thread.submit(
            keras_predict.compile_predict,
            model,
            tile_items=_TILE_ITEMS,
            item_shape=(4, 4),
            item_dtype="float32",
        )

    # Keras leaves the odd name on a stack of the thread, where later models fail over it.
    with ThreadPoolExecutor(1) as thread:
        for words, model in models.items():
            with pytest.raises(ModelRefusedError, match=words):
                compiled(model).result()


def test_a_model_that_does_not_give_one_row_per_item_is_refused(keras: Any) -> None:
    tokens = keras.Input((4, 4))
    dense = keras.layers.Dense(2)(tokens)
    models = {
        r"outputs of shape \[8, 4, 2\].*several axes or of varying size are not there yet": (
            keras.Model(tokens, dense)
        ),
        r"outputs of shape \[2, 8\].*must give one row": (
            keras.Model(tokens, keras.ops.transpose(dense[:, 0]))
        ),
        "does not take|outputs": keras.Model(tokens, [dense, dense]),
    }

    for words, model in models.items():
        with pytest.raises(ModelRefusedError, match=words):
            keras_predict.compile_predict(
                model, tile_items=_TILE_ITEMS, item_shape=(4, 4), item_dtype="float32"
            )


def test_threads_cannot_be_limited_after_the_first_operation(predict: interface.Predict) -> None:
    predict(_items(_TILE_ITEMS))

    with pytest.raises(UsageError, match="too late for 1 threads"):
        keras_setup.limit_threads(1)


def test_a_gpus_memory_is_taken_as_needed_and_its_arithmetic_is_float32(
    keras: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given two GPUs, according to TensorFlow
    import tensorflow as tf  # noqa: PLC0415 - seconds

    config, told = tf.config, []
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: [f"{kind}:0", f"{kind}:1"])
    for name in (
        "set_memory_growth",
        "enable_tensor_float_32_execution",
        "enable_op_determinism",
    ):
        monkeypatch.setattr(
            config.experimental, name, lambda *given, name=name: told.append((name, *given))
        )

    found = keras_setup.set_up_gpus()

    assert found
    assert [
        ("set_memory_growth", "GPU:0", True),
        ("set_memory_growth", "GPU:1", True),
        ("enable_tensor_float_32_execution", False),
        ("enable_op_determinism",),
    ] == told
    assert keras_setup.engine_name().endswith(" gpu")


def test_on_a_gpu_a_function_is_called_as_tensorflow_places_it(
    model: Any, predict: interface.Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a GPU, according to TensorFlow, and no way to run a function as one operation
    import tensorflow as tf  # noqa: PLC0415 - seconds

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind}:0"])
    monkeypatch.delattr(tf.raw_ops, "StatefulPartitionedCall")

    on_gpu = keras_predict.compile_predict(
        model, tile_items=_TILE_ITEMS, item_shape=(4, 4), item_dtype="uint8"
    )

    np.testing.assert_array_equal(predict(_items(8)), on_gpu(_items(8)))


def test_forgetting_dropped_models_changes_no_output(
    predict: interface.Predict,
) -> None:
    before = predict(_items(8))

    keras_predict.forget_dropped_models()

    np.testing.assert_array_equal(before, predict(_items(8)))


def _run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**{k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}, **environ},
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_engine_starts_silently_and_computes_in_the_calling_thread() -> None:
    ended = _run(
        """
        import gc, sys, time
        import numpy
        from model_store.engines import keras_predict, keras_setup
        from model_store.engines.keras import KerasEngine
        engine = KerasEngine(threads=3, exact=False)
        keras = keras_setup.import_keras()
        model = keras.Sequential([keras.Input((500,)), *[keras.layers.Dense(500)] * 5])
        predict = keras_predict.compile_predict(
            model, tile_items=500, item_shape=(500,), item_dtype="float32"
        )
        tile = numpy.ones((500, 500), numpy.float32)
        predict(tile)
        of_thread, of_process = time.thread_time(), time.process_time()
        for _ in range(20):
            predict(tile)
        share = (time.thread_time() - of_thread) / (time.process_time() - of_process)
        threads = keras_setup.import_tensorflow().config.threading
        print(threads.get_intra_op_parallelism_threads(), engine.streams)
        print(threads.get_inter_op_parallelism_threads())
        print(engine.name)
        # What is imported is left out of collections, later garbage is not.
        print(gc.isenabled(), gc.get_freeze_count() > 100_000)
        # CPU time: another thread would have nearly all of it.
        print("here" if share > 0.5 else "elsewhere")
        print("still heard", file=sys.stderr)
        """
    )

    assert "still heard\n" == ended.stderr
    calls, threads, engine, garbage, where = ended.stdout.splitlines()
    assert ("1 3", "3", "True True", "here") == (calls, threads, garbage, where)
    assert engine.startswith("tensorflow 2.")


def test_another_keras_backend_is_refused() -> None:
    ended = _run(
        """
        from model_store.engines.keras_setup import import_keras
        for backend in ("tensorflow", "openvino"):
            try:
                import_keras(backend)
            except Exception as exc:
                print(type(exc).__name__, exc)
        """,
        KERAS_BACKEND="jax",
    )

    refusal = "ConfigError KERAS_BACKEND is 'jax', and this process runs Keras on {}; unset it"
    expected = [refusal.format(backend) for backend in ("tensorflow", "openvino")]
    assert expected == ended.stdout.splitlines()


def test_what_a_layer_makes_on_its_way_counts_as_work(keras: Any) -> None:
    # given two heads over 500 positions, and 300 channels that become one
    tokens = keras.Input((500, 4))
    attention = keras.layers.MultiHeadAttention(2, 2)(tokens, tokens)
    pixels = keras.Input((32, 16, 3))
    separable = keras.layers.SeparableConv2D(1, 1, depth_multiplier=100)(pixels)

    scores = estimate(keras.Model(tokens, attention), item_shape=[500, 4], item_dtype="float32")
    channels = estimate(keras.Model(pixels, separable), item_shape=[32, 16, 3], item_dtype="uint8")

    assert (4 * 2 * 500 * 500, False) == (scores.output_bytes, scores.is_light)
    assert 4 * 32 * 16 * 300 == channels.output_bytes
