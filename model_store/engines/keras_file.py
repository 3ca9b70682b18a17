"""Keras models to `.keras` files and back, on any backend."""

import contextlib
import importlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from fornada.errors import ConfigError, ModelRefusedError, error_line
from fornada.storage.interface import Content
from model_store.engines.artifact import activations, building, compile_state
from model_store.engines.artifact.archive import without_nested_compile_configs, write_normalised
from model_store.engines.artifact.dtypes import ComputeDtype, computing_in
from model_store.engines.artifact.tensorflow_layers import check_layers
from model_store.engines.keras_setup import Backend, import_keras
from model_store.engines.refusals import memory_errors
from model_store.safety.artifact_check import WEIGHTS, CheckedArtifact, unpacked
from model_store.scratch import scratch_folder


def save_model(model: Any, path: Path) -> None:
    """Write `model`, a built `keras.Sequential` or Functional model, into a `.keras` file.

    The same weights and names give the same bytes in any process: the dates and memory addresses
    that Keras writes are removed. Keras numbers automatic layer names (`dense`, `dense_1`, …), so
    two models built in one process differ unless their layers are named. Other releases of Keras or
    HDF5 may write other bytes. TensorFlow's functions as activations become Keras's
    (`artifact.activations`); a loss or metric without a name is left out
    (`artifact.compile_state`).

    Raises:
        LocalDiskError: The temporary folder is full or not writable.
    """
    with scratch_folder() as folder:
        # An archive of its own would be held in memory.
        model.save(folder, zipped=False)
        own = activations.own_names(model)

        def change(config: Any) -> Any:
            changed = activations.with_keras_activations(config, keep=own)
            compile_state.drop_unnamed(changed)
            return changed

        write_normalised(folder, path, change=change)


def dump_model(model: Any) -> bytes:
    """The bytes that `save_model` writes, for small models."""
    with scratch_folder() as folder:
        save_model(model, folder / "model.keras")
        return (folder / "model.keras").read_bytes()


def load_model(
    artifact: Content,
    *,
    where: str,
    allowed_objects: Collection[str] = (),
    dtype: ComputeDtype | None = None,
    backend: Backend | None = None,
    functions: Mapping[str, Any] | None = None,
) -> Any:
    """The `keras.Model` in a `.keras` file; not compiled for training.

    Args:
        artifact: The file, or its bytes.
        where: What it was read from, for messages.
        allowed_objects: Code that the operator trusts, as `Trust.allowed_objects`.
        dtype: What its layers compute in; by default what it was saved with.
        backend: What Keras runs on; by default as `import_keras` has it.
        functions: From `activations.saved_functions`, which the file may name.

    Raises:
        ConfigError: An allowed object cannot be imported, or Keras runs on another backend.
        ModelRefusedError: It is unsafe (`unpacked`), Keras cannot build it, or it has a layer that
            Keras has on TensorFlow alone.
        LocalDiskError: The temporary folder is full or not writable.
    """
    keras = import_keras(backend)
    used: Backend = keras.backend.backend()
    known = functions or {}
    with unpacked(
        artifact, where=where, allowed_objects=allowed_objects, known_functions=known.keys()
    ) as checked:
        called = activations.found_in(checked.config) if known else {}
        # The scope takes precedence over names that other code has registered.
        scope = keras.saving.custom_object_scope(
            {
                **{name: function for name, function in known.items() if name in called},
                **custom_objects(checked.used_objects),
            }
        )
        config = without_nested_compile_configs(checked.config)
        if used != "tensorflow":
            check_layers(config, where=where, backend=used)
        if dtype is not None:
            config = computing_in(config, dtype)
        with scope, _layers_raise_anything(keras, where, used):
            model = _loaded(keras, checked, config, where)
            if used == "jax":
                building.make_axes_hashable(keras, model)
            return model


def _loaded(keras: Any, checked: CheckedArtifact, config: Any, where: str) -> Any:
    if not checked.used_objects and not checked.has_vocabularies:
        return building.load(
            keras,
            config,
            checked.folder / WEIGHTS,
            where=where,
            element_count=checked.element_count,
        )
    (checked.folder / "config.json").write_text(json.dumps(config))
    # Keras expects it beside vocabularies.
    (checked.folder / "metadata.json").touch()
    if not checked.used_objects:
        # Layers of others may compute with their weights when built.
        building.check_built_sizes(keras, config, where=where, element_count=checked.element_count)
    return keras.saving.load_model(checked.folder, compile=False, safe_mode=True)


@contextlib.contextmanager
def _layers_raise_anything(keras: Any, where: str, backend: Backend) -> Iterator[None]:
    try:
        with memory_errors():
            yield
    except (ModelRefusedError, MemoryError):
        raise
    except Exception as exc:
        other = "" if backend == "tensorflow" else ", or predict it with FORNADA_ENGINE=keras"
        raise ModelRefusedError(
            f"{where} cannot be loaded by Keras {keras.__version__} on {backend}: "
            f"{error_line(exc)}; publish it again with this release of Keras or an older one{other}"
        ) from exc


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
