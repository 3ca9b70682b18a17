"""Keras in this process: imported quietly and on one backend; TensorFlow's threads and GPUs."""

import contextlib
import gc
import importlib
import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any, Literal, get_args

from fornada.errors import ConfigError, MissingExtraError, UsageError
from fornada.imports import imports_blocked

#: Best first: TensorFlow has every layer, and OpenVINO cannot train.
Backend = Literal["tensorflow", "jax", "openvino"]

_EXTRAS: dict[Backend, str] = {
    "tensorflow": "'fornada[worker]' (or 'fornada[train]' to train)",
    "jax": "'fornada[jax]'",
    "openvino": "'fornada[openvino]'",
}
#: Drawings, tables, scikit-learn and, where it is installed, JAX: a third of the time that Keras
#: takes to import, and 170 MB.
_NOT_TO_PREDICT = ("jax", "matplotlib", "pandas", "scipy", "sklearn")
#: Blocked while Keras is imported on OpenVINO. OpenVINO's converter reports each import to its
#: vendor. The rest serves drawings, image files, scikit-learn and a remote monitor, and takes
#: longer to import than everything else.
_NOT_FOR_OPENVINO = (
    "PIL",
    "jax",
    "matplotlib",
    "openvino.tools.ovc",
    "requests",
    "sklearn",
    "tensorflow",
)
#: Blocked while Keras is imported on JAX: it would import TensorFlow wherever that is installed.
_NOT_FOR_JAX = ("PIL", "matplotlib", "pandas", "requests", "sklearn", "tensorflow")
#: Keras needs SciPy only for the windows of Fourier transforms. A layer that has one fails here,
#: and its model is refused.
_SCIPY = ("scipy", "scipy.signal")
_NOTICE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|I0000 |To enable the following instr"
)
#: Two threads that both redirect stderr would leave it redirected.
_import_lock = threading.Lock()


def import_keras(backend: Backend | None = None) -> Any:
    """The `keras` module on `backend`; a process keeps the backend it imports first.

    Args:
        backend: `None`: the one that this process has; else the one that KERAS_BACKEND names; else
            the first one that is installed.

    Raises:
        MissingExtraError: Keras or the backend is not installed.
        ConfigError: KERAS_BACKEND names another backend, or Keras already runs on another.
    """
    with _import_lock:
        if "keras" not in sys.modules:
            wanted = backend or backend_to_take()
            try:
                with _no_garbage_collected(), _backend_set_to(wanted):
                    _IMPORTS[wanted]()
            except ModuleNotFoundError as exc:
                raise MissingExtraError(
                    f"{exc.name} is not installed; run: pip install {_EXTRAS[wanted]}"
                ) from exc
        keras: Any = sys.modules["keras"]
    used = backend_to_take()
    if backend not in {None, used}:
        raise ConfigError(
            f"Keras already runs on {used} in this process; load models on {backend} in another"
        )
    return keras


def backend_here() -> Backend:
    """What Keras runs on in this process; imports it.

    Raises:
        MissingExtraError, ConfigError: As `import_keras`.
    """
    import_keras()
    return backend_to_take()


def backend_to_take() -> Backend:
    """What Keras runs on in this process, or will: see `import_keras`. Imports nothing.

    Raises:
        ConfigError: KERAS_BACKEND names an unknown backend.
    """
    known: tuple[Backend, ...] = get_args(Backend)
    keras: Any = sys.modules.get("keras")
    given = os.environ.get("KERAS_BACKEND") if keras is None else keras.backend.backend()
    if not given:
        return next((backend for backend in known if find_spec(backend) is not None), known[0])
    for backend in known:
        if backend == given:
            return backend
    raise ConfigError(
        f"Keras's backend is {given!r}; set KERAS_BACKEND to one of {', '.join(known)}, or unset it"
    )


@contextlib.contextmanager
def _no_garbage_collected() -> Iterator[None]:
    """Leave what is imported out of all collections: each costs a second, now and at exit."""
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if is_enabled:
            gc.enable()


def import_keras_to_predict() -> Any:
    """`import_keras` on TensorFlow without what only training needs."""
    with imports_blocked(_NOT_TO_PREDICT):
        return import_keras("tensorflow")


def import_tensorflow() -> Any:
    """The `tensorflow` module; see `import_keras`."""
    import_keras("tensorflow")
    return sys.modules["tensorflow"]


def call_model(model: Any, items: Sequence[Any]) -> list[Any]:
    """The outputs for `items`, the inputs, each in the order of a manifest."""
    tree: Any = sys.modules["keras"].tree
    return list(tree.flatten(model(packed_inputs(model, items), training=False)))


def packed_inputs(model: Any, items: Sequence[Any]) -> Any:
    """The inputs in the dict or list that the model takes them in."""
    tree: Any = sys.modules["keras"].tree
    structure = getattr(model, "_inputs_struct", None)
    if structure is None and len(items) > 1:
        # A subclassed model was built on shapes by name, or in a list.
        shapes = (model.get_build_config() or {}).get("input_shape")
        names = sorted(shapes) if isinstance(shapes, dict) else None
        return list(items) if names is None else dict(zip(names, items, strict=True))
    return items[0] if structure is None else tree.pack_sequence_as(structure, list(items))


@contextlib.contextmanager
def name_scopes_kept() -> Iterator[None]:
    """A block after which Keras has the name scopes from before it.

    A name that TensorFlow refuses leaves its scope behind, in which it refuses all models.
    """
    state: Any = importlib.import_module("keras.src.backend.common.global_state")
    before = list(state.get_global_attribute("name_scope_stack") or [])
    try:
        yield
    finally:
        state.set_global_attribute("name_scope_stack", before)


def engine_name() -> str:
    """What computes, with its version: `tensorflow 2.21.0`, followed by ` gpu` on a GPU."""
    tensorflow = import_tensorflow()
    gpu = " gpu" if tensorflow.config.list_physical_devices("GPU") else ""
    return f"tensorflow {tensorflow.__version__}{gpu}"


def limit_threads(count: int) -> None:
    """Let TensorFlow run `count` operations at a time, each on one thread.

    Calls then run side by side, each on one core. An operation split among threads ends with the
    slowest of them, and the others wait where cores are shared (ADR 0011).

    Raises:
        UsageError: TensorFlow has begun to compute, after which it ignores the limit.
    """
    threads = import_tensorflow().config.threading
    try:
        threads.set_intra_op_parallelism_threads(1)
        threads.set_inter_op_parallelism_threads(count)
    except RuntimeError as exc:
        raise UsageError(
            f"TensorFlow has begun to compute, too late for {count} threads; call limit_threads "
            "before the first model is loaded"
        ) from exc


def set_up_gpus() -> bool:
    """Let TensorFlow take GPU memory as needed and compute in full float32, deterministically.

    By default it takes all memory at once, multiplies with a 10-bit mantissa, and may sum in
    another order each time. Without a GPU this does nothing.

    Returns:
        Whether there is a GPU.
    """
    config = import_tensorflow().config
    gpus = config.list_physical_devices("GPU")
    for gpu in gpus:
        config.experimental.set_memory_growth(gpu, True)  # noqa: FBT003 - TensorFlow's signature
    if gpus:
        config.experimental.enable_tensor_float_32_execution(False)  # noqa: FBT003 - as above
        config.experimental.enable_op_determinism()
    return bool(gpus)


def _import_on_tensorflow() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # oneDNN's own allocator never returns what dropped models held.
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
    with _notices_held_back():
        importlib.import_module("tensorflow")
        importlib.import_module("keras")


def _import_on_openvino() -> None:
    with imports_blocked(_NOT_FOR_OPENVINO, stand_ins=_SCIPY):
        importlib.import_module("openvino")
        _import_without_tensorflow()


def _import_on_jax() -> None:
    with imports_blocked(_NOT_FOR_JAX):
        plain_jax()
        _import_without_tensorflow()


def plain_jax() -> Any:
    """The `jax` module, which may compute nothing yet, and has taken no memory."""
    # By default it takes three quarters of a GPU's memory at once, whoever else uses it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # It reports each kind of device that it did not find.
    logging.getLogger("jax").setLevel(logging.WARNING)
    return importlib.import_module("jax")


def _import_without_tensorflow() -> None:
    keras: Any = importlib.import_module("keras")
    # Keras imports TensorFlow to tell whether an object is one of its tensors, and does not retry
    # once that has failed.
    keras.saving.serialize_keras_object(keras.layers.Identity())


_IMPORTS: dict[Backend, Callable[[], None]] = {
    "tensorflow": _import_on_tensorflow,
    "jax": _import_on_jax,
    "openvino": _import_on_openvino,
}


@contextlib.contextmanager
def _backend_set_to(backend: Backend) -> Iterator[None]:
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
    """Drop TensorFlow's notices from stderr; everything else appears after the block.

    TensorFlow 2.21 writes them from C++ before it reads `TF_CPP_MIN_LOG_LEVEL`.
    """
    try:
        stderr = os.dup(2)
    except OSError:
        # There is no stderr.
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
