"""Keras models to the bytes of a `.keras` file and back, on either backend."""

import contextlib
import importlib
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from fornada.errors import ConfigError, LocalDiskError, ModelRefusedError, error_line
from model_store.engines.artifact import activations
from model_store.engines.artifact.archive import (
    normalise_archive,
    read_config,
    with_config,
    without_nested_compile_configs,
)
from model_store.engines.artifact.sizes import check_built_sizes
from model_store.engines.keras_exact import in_float64
from model_store.engines.keras_setup import Backend, import_keras
from model_store.safety.artifact_check import check_artifact


def dump_model(model: Any) -> bytes:
    """The bytes of the `.keras` file of `model`, a built `keras.Sequential` or Functional model.

    The same weights and names give the same bytes in any process: the dates and memory addresses
    that Keras writes are removed. Keras numbers automatic layer names (`dense`, `dense_1`, …), so
    two models built in one process differ unless their layers are named. Other releases of Keras or
    HDF5 may write other bytes. TensorFlow's functions as activations become Keras's
    (`artifact.activations`).

    Raises:
        LocalDiskError: The temporary folder is full or not writable.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="fornada-") as folder:
            path = Path(folder, "model.keras")
            model.save(path)
            data = activations.with_keras_activations(
                path.read_bytes(), keep=activations.own_names(model)
            )
            return normalise_archive(data)
    except OSError as exc:
        raise _disk_error(exc) from exc


def load_model(
    data: bytes,
    *,
    where: str,
    allowed_objects: Collection[str] = (),
    exact: bool = False,
    backend: Backend = "tensorflow",
    functions: Mapping[str, Any] | None = None,
) -> Any:
    """The `keras.Model` in the bytes of a `.keras` file; not compiled for training.

    Args:
        data: The whole file.
        where: What it was read from, for messages.
        allowed_objects: Code that the operator trusts, as `Trust.allowed_objects`.
        exact: Have its layers compute in float64.
        backend: What Keras runs on.
        functions: From `activations.tensorflow_functions`, which the file may name.

    Raises:
        ConfigError: An allowed object cannot be imported, or Keras runs on another backend.
        ModelRefusedError: It is unsafe (`check_artifact`), or Keras cannot build it.
        LocalDiskError: The temporary folder is full or not writable.
    """
    keras = import_keras(backend)
    checked = check_artifact(
        data, where=where, allowed_objects=allowed_objects, known_functions=(functions or {}).keys()
    )
    called = activations.found_in(data) if functions else {}
    data = with_config(data, without_nested_compile_configs)
    if exact:
        data = in_float64(data)
    # The scope takes precedence over names that other code has registered.
    scope = keras.saving.custom_object_scope(
        {
            **{name: function for name, function in (functions or {}).items() if name in called},
            **custom_objects(checked.used_objects),
        }
    )
    try:
        with scope, tempfile.TemporaryDirectory(prefix="fornada-") as folder:
            path = Path(folder, "model.keras")
            path.write_bytes(data)
            with _layers_raise_anything(keras, where, backend):
                if not checked.used_objects:
                    # Layers of others may compute with their weights when built.
                    check_built_sizes(
                        keras, read_config(data), where=where, element_count=checked.element_count
                    )
                return keras.saving.load_model(path, compile=False, safe_mode=True)
    except OSError as exc:
        raise _disk_error(exc) from exc


@contextlib.contextmanager
def _layers_raise_anything(keras: Any, where: str, backend: Backend) -> Iterator[None]:
    try:
        yield
    except ModelRefusedError:
        raise
    except Exception as exc:
        other = "" if backend == "tensorflow" else ", or predict it with FORNADA_ENGINE=keras"
        raise ModelRefusedError(
            f"{where} cannot be loaded by Keras {keras.__version__} on {backend}: "
            f"{error_line(exc)}; publish it again with this release of Keras or an older one{other}"
        ) from exc


def _disk_error(exc: OSError) -> LocalDiskError:
    return LocalDiskError(
        f"the temporary folder {tempfile.gettempdir()} cannot take a model "
        f"({exc.strerror or exc}); free space there or set TMPDIR"
    )


def custom_objects(targets: Mapping[str, str]) -> dict[str, Any]:
    """Import allowed objects, each by the name under which Keras looks it up.

    Raises:
        ConfigError: One cannot be imported.
    """
    return {name: _import_object(target) for name, target in targets.items()}


def _import_object(target: str) -> Any:
    module, _, name = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as exc:
        raise ConfigError(
            f"FORNADA_ALLOWED_OBJECTS names {target}, which cannot be imported ({exc}); install "
            "its package here"
        ) from exc
    if not callable(found):
        raise ConfigError(
            f"FORNADA_ALLOWED_OBJECTS names {target}, which is not a class or function"
        )
    return found
