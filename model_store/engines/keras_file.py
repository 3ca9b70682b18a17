"""Keras models to the bytes of a `.keras` file and back, on either backend."""

import importlib
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from fornada.errors import ConfigError, LocalDiskError, ModelRefusedError, error_line
from model_store.engines.keras_exact import in_float64
from model_store.engines.keras_setup import Backend, import_keras
from model_store.safety.artifact_check import check_artifact


def dump_model(model: Any) -> bytes:
    """The bytes of the `.keras` file of `model`, a built `keras.Sequential` or Functional model.

    The same weights and names give the same bytes in any process: the dates and memory addresses
    that Keras writes are removed. Keras numbers automatic layer names (`dense`, `dense_1`, …), so
    two models built in one process differ unless their layers are named. Other releases of Keras or
    HDF5 may write other bytes.

    Raises:
        LocalDiskError: The temporary folder is full or not writable.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="fornada-") as folder:
            path = Path(folder, "model.keras")
            model.save(path)
            return normalise_archive(path.read_bytes())
    except OSError as exc:
        raise _disk_error(exc) from exc


def load_model(
    data: bytes,
    *,
    where: str,
    allowed_layers: Collection[str] = (),
    exact: bool = False,
    backend: Backend = "tensorflow",
) -> Any:
    """The `keras.Model` in the bytes of a `.keras` file; not compiled for training.

    Args:
        data: The whole file.
        where: What it was read from, for messages.
        allowed_layers: Custom layers that the operator trusts, as `package.module:ClassName`.
        exact: Have its layers compute in float64.
        backend: What Keras runs on.

    Raises:
        ConfigError: An allowed layer cannot be imported, or Keras runs on another backend.
        ModelRefusedError: It is unsafe (`check_artifact`), or Keras cannot build it.
        LocalDiskError: The temporary folder is full or not writable.
    """
    keras = import_keras(backend)
    layers = check_artifact(data, where=where, allowed_layers=allowed_layers)
    if exact:
        data = in_float64(data)
    # The scope takes precedence over names that other code has registered.
    scope = keras.saving.custom_object_scope(
        {name: _import_layer(layer) for name, layer in layers.items()}
    )
    try:
        with scope, tempfile.TemporaryDirectory(prefix="fornada-") as folder:
            path = Path(folder, "model.keras")
            path.write_bytes(data)
            return _load_file(keras, path, where)
    except OSError as exc:
        raise _disk_error(exc) from exc


def _load_file(keras: Any, path: Path, where: str) -> Any:
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as exc:
        # Layers raise anything.
        raise ModelRefusedError(
            f"{where} cannot be loaded by Keras {keras.__version__}: {error_line(exc)}; publish it "
            "again with this release of Keras or an older one"
        ) from exc


def _disk_error(exc: OSError) -> LocalDiskError:
    return LocalDiskError(
        f"the temporary folder {tempfile.gettempdir()} cannot take a model "
        f"({exc.strerror or exc}); free space there or set TMPDIR"
    )


#: The oldest date a zip can hold: the bytes must not depend on when they were written.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def normalise_archive(data: bytes) -> bytes:
    """The same `.keras` file without dates and memory addresses."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(buffer, "w") as written:
        for name in sorted(given.namelist()):
            content = given.read(name)
            if name == "config.json":
                content = _renumber_shared_ids(content)
            elif name == "metadata.json":
                content = json.dumps(
                    {"keras_version": json.loads(content)["keras_version"]}
                ).encode()
            written.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), content)
    return buffer.getvalue()


def _renumber_shared_ids(config: bytes) -> bytes:
    # Keras writes id(object), and uses it only to tell objects apart.
    numbers: dict[bytes, int] = {}

    def number(match: re.Match[bytes]) -> bytes:
        return match[1] + str(numbers.setdefault(match[2], len(numbers) + 1)).encode()

    return re.sub(rb'("shared_object_id": )(\d+)', number, config)


def _import_layer(layer: str) -> type:
    module, _, name = layer.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as exc:
        raise ConfigError(
            f"FORNADA_ALLOWED_LAYERS names {layer}, which cannot be imported ({exc}); install its "
            "package here"
        ) from exc
    if not isinstance(found, type):
        raise ConfigError(f"FORNADA_ALLOWED_LAYERS names {layer}, which is not a class")
    return found
