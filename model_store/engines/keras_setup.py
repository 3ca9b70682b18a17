"""Import Keras on TensorFlow quietly, and set up its threads and GPUs."""

import contextlib
import importlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from fornada.errors import (
    ConfigError,
    MissingExtraError,
    UsageError,
)

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


def _import_tensorflow() -> Any:
    import_keras()
    return sys.modules["tensorflow"]


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
