"""Models to bytes and back, and to one compiled predict call, by Keras on TensorFlow.

`import_keras` is the one door: it keeps TensorFlow's start-up notices off the terminal. Beside
`openvino_codec`, this is the only module that imports Keras.
"""

import contextlib
import importlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from fornada.errors import (
    ConfigError,
    LocalDiskError,
    MissingExtraError,
    ModelRefusedError,
    UsageError,
)
from model_store.artifact_check import check_artifact
from model_store.constant_weights import constant_bytes, constant_weights
from model_store.custom_layers import import_layers
from model_store.error_line import error_line
from model_store.golden import Predict
from model_store.keras_archive import without_accidents
from model_store.keras_exact import check_float64, in_float64
from model_store.tensorflow_call import predict_call

#: 0.2 MB of a small CNN, 3 MB of a MobileNetV2 without its weights; and of constants.
_KEPT_OF_A_GRAPH_BYTES = 4 * 2**20
_KEPT_COPIES = 4

_import_lock = threading.Lock()
_NOTICE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|I0000 |To enable the following instr"
)


def import_keras() -> Any:
    """The `keras` module, on TensorFlow, without TensorFlow's notices on stderr.

    Raises:
        MissingExtraError: Keras or TensorFlow is not installed.
        ConfigError: Keras is set to another backend.
    """
    # Two threads that both point stderr elsewhere would leave it there.
    with _import_lock:
        if "keras" in sys.modules and "tensorflow" in sys.modules:
            return sys.modules["keras"]
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        try:
            with keras_set_to("tensorflow"), _notices_held_back():
                importlib.import_module("tensorflow")
                return importlib.import_module("keras")
        except ModuleNotFoundError as exc:
            raise MissingExtraError(
                f"{exc.name} is not installed; run: pip install 'fornada[worker]' "
                "(or 'fornada[train]' to train)"
            ) from exc


def engine_name() -> str:
    """What computes, with its version: `tensorflow 2.21.0`, and ` gpu` where it does so on one."""
    tensorflow = _import_tensorflow()
    gpu = " gpu" if tensorflow.config.list_physical_devices("GPU") else ""
    return f"tensorflow {tensorflow.__version__}{gpu}"


def limit_threads(count: int) -> None:
    """Let TensorFlow run each operation on one thread, and have `count` threads of its own.

    So calls run side by side, each on one core. An operation that is split among threads ends
    with the last of them, and where other work has the cores too, the others wait (ADR 0011).

    Raises:
        UsageError: TensorFlow has begun to compute; the limit is read only before.
    """
    tensorflow = _import_tensorflow()
    try:
        tensorflow.config.threading.set_intra_op_parallelism_threads(1)
        tensorflow.config.threading.set_inter_op_parallelism_threads(count)
    except RuntimeError as exc:
        raise UsageError(
            f"TensorFlow has begun to compute, too late for {count} threads; call limit_threads "
            "before the first model is loaded"
        ) from exc


def forget_dropped_models() -> None:
    """Let go of what TensorFlow prepared for the calls of models that are gone.

    It keeps that for good: see `kept_bytes`. Models that are still there are prepared once more by
    their next call, with the same outputs; calls that run meanwhile go on.
    """
    # Of a new seed nothing prepared knows, so TensorFlow forgets all of it; predict needs none.
    _import_tensorflow().random.set_seed(0)


def kept_bytes(model: Any) -> int:
    """What TensorFlow keeps, at most, of a call of `compile_predict` for a model that is gone."""
    return _KEPT_OF_A_GRAPH_BYTES + _KEPT_COPIES * constant_bytes(model)


def set_up_gpus() -> bool:
    """Let TensorFlow take a GPU's memory as it needs it, and compute there in full float32.

    By itself it takes all memory at once, multiplies with 10 bits of the mantissa, and may add up
    in another order each time. Does nothing without a GPU.

    Returns:
        Whether there is one.
    """
    config = _import_tensorflow().config
    gpus = config.list_physical_devices("GPU")
    for gpu in gpus:
        config.experimental.set_memory_growth(gpu, True)  # noqa: FBT003 - TensorFlow's signature
    if gpus:
        config.experimental.enable_tensor_float_32_execution(False)  # noqa: FBT003 - as above
        config.experimental.enable_op_determinism()
    return bool(gpus)


def dump_model(model: Any) -> bytes:
    """The bytes of the `.keras` file of `model`, a built `keras.Sequential` or Functional model.

    The same model object, weights and names give the same bytes, in any process: dates and memory
    addresses that Keras writes are left out. Keras counts up automatic layer names (`dense`,
    `dense_1`, …), so models built one after the other differ unless their layers are named; another
    release of Keras or HDF5 may write the same model in other bytes.

    Raises:
        LocalDiskError: The temporary folder is full or not writable.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="fornada-") as folder:
            path = Path(folder, "model.keras")
            model.save(path)
            return without_accidents(path.read_bytes())
    except OSError as exc:
        raise _disk_error(exc) from exc


def load_model(
    data: bytes, *, where: str, allowed_layers: Collection[str] = (), exact: bool = False
) -> Any:
    """The `keras.Model` in the bytes of a `.keras` file; not compiled for training.

    Args:
        data: The whole file.
        where: What it was read from, for the error message.
        allowed_layers: Layers of others, as `package.module:ClassName`, that the operator trusts.
        exact: Its layers compute in float64, whatever they were made for.

    Raises:
        ConfigError: A layer that is allowed cannot be imported.
        ModelRefusedError: It is not safe (`check_artifact`), or Keras cannot build it.
        LocalDiskError: The temporary folder is full or not writable.
    """
    keras = import_keras()
    return read_model(keras, data, where=where, allowed_layers=allowed_layers, exact=exact)


def read_model(
    keras: Any,
    data: bytes,
    *,
    where: str,
    allowed_layers: Collection[str] = (),
    exact: bool = False,
) -> Any:
    """As `load_model`, into a `keras` on whatever backend."""
    layers = check_artifact(data, where=where, allowed_layers=allowed_layers)
    if exact:
        data = in_float64(data)
    # A name that was registered by somebody else must not come before an allowed one.
    scope = keras.saving.custom_object_scope(import_layers(layers))
    try:
        with scope, tempfile.TemporaryDirectory(prefix="fornada-") as folder:
            path = Path(folder, "model.keras")
            path.write_bytes(data)
            return _load_file(keras, path, where)
    except OSError as exc:
        raise _disk_error(exc) from exc


def compile_predict(
    model: Any,
    *,
    tile_items: int,
    item_shape: Sequence[int],
    item_dtype: str,
    exact: bool = False,
) -> Predict:
    """Predict as one compiled function at one fixed signature, traced here and never again.

    The function takes item_dtype [tile_items, *item_shape] and returns float32 [tile_items,
    outputs]. It may be called from many threads, and computes in them; each has a tile's memory
    copied. A row's bytes do not depend on the other rows of its tile.

    Args:
        model: From `load_model`.
        tile_items: Rows of every call.
        item_shape: Shape of one item.
        item_dtype: dtype of the items.
        exact: Refuse a model that computes in less than float64 anywhere.

    Raises:
        ModelRefusedError: The model does not take such items, has other outputs, or is not exact.
    """
    keras, tensorflow = import_keras(), _import_tensorflow()
    signature = tensorflow.TensorSpec([tile_items, *item_shape], item_dtype)

    def forward(items: Any) -> Any:
        with constant_weights(model, keras, tensorflow):
            outputs = model(items, training=False)
        return tensorflow.cast(outputs, tensorflow.float32)

    takes = f"{item_dtype} [{tile_items}, {', '.join(map(str, item_shape))}]"
    try:
        compiled = tensorflow.function(forward, autograph=False).get_concrete_function(signature)
        shape = tuple(compiled.structured_outputs.shape)
    except Exception as exc:
        # Layers raise what they like on input that does not fit.
        raise ModelRefusedError(
            f"the model does not take {takes} ({error_line(exc)}); publish it with the item shape "
            "and dtype of its Input layer"
        ) from exc
    check_output_shape(shape, tile_items=tile_items, takes=takes)
    if exact:
        check_float64(compiled, takes=takes)
    return predict_call(compiled, signature, tensorflow)


def check_output_shape(shape: Sequence[int | None], *, tile_items: int, takes: str) -> None:
    """Check that a model gives one row of numbers an item.

    Raises:
        ModelRefusedError: It does not; `takes` says for what.
    """
    if len(shape) != 2 or shape[0] != tile_items or shape[1] is None:  # noqa: PLR2004 - rows, outputs
        raise ModelRefusedError(
            f"the model gives outputs of shape {tuple(shape)} for {takes}; it must give one row of "
            "numbers an item"
        )


def _import_tensorflow() -> Any:
    import_keras()
    return sys.modules["tensorflow"]


def _load_file(keras: Any, path: Path, where: str) -> Any:
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as exc:
        # Keras raises whatever the layer at fault raises.
        raise ModelRefusedError(
            f"{where} cannot be loaded by Keras {keras.__version__}: {error_line(exc)}; publish it "
            "again with this release of Keras or an older one"
        ) from exc


@contextlib.contextmanager
def keras_set_to(backend: str) -> Iterator[None]:
    """Have Keras run on `backend` if it is imported in the block; ConfigError if it must not."""
    given = os.environ.get("KERAS_BACKEND")
    if given not in {None, backend}:
        raise ConfigError(
            f"KERAS_BACKEND is {given!r}, and this process runs Keras on {backend}; unset it"
        )
    os.environ["KERAS_BACKEND"] = backend
    try:
        yield
    finally:
        if given is None:
            del os.environ["KERAS_BACKEND"]


@contextlib.contextmanager
def _notices_held_back() -> Iterator[None]:
    """Keep TensorFlow's notices off stderr; everything else written meanwhile follows after.

    TensorFlow 2.21 writes them from C++ before it reads `TF_CPP_MIN_LOG_LEVEL`.
    """
    try:
        stderr = os.dup(2)
    except OSError:
        # No stderr, nobody to disturb.
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            held.seek(0)
            for line in held:
                if _NOTICE.match(line) is None:
                    os.write(stderr, line)
            os.close(stderr)


def _disk_error(exc: OSError) -> LocalDiskError:
    return LocalDiskError(
        f"the temporary folder {tempfile.gettempdir()} cannot take a model "
        f"({exc.strerror or exc}); free space there or set TMPDIR"
    )
