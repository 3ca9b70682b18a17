"""Models to bytes and back, and to one compiled predict call, by Keras on TensorFlow.

`import_keras` is the one door: it keeps TensorFlow's start-up notices off the terminal. Beside
`openvino`, this is the only module that imports Keras.
"""

import importlib
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from fornada.errors import (
    ConfigError,
    LocalDiskError,
    ModelRefusedError,
    error_line,
)
from model_store.engines.keras_exact import in_float64
from model_store.engines.keras_setup import import_keras
from model_store.safety.artifact_check import check_artifact


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
            return normalise_archive(path.read_bytes())
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


def _load_file(keras: Any, path: Path, where: str) -> Any:
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as exc:
        # Keras raises whatever the layer at fault raises.
        raise ModelRefusedError(
            f"{where} cannot be loaded by Keras {keras.__version__}: {error_line(exc)}; publish it "
            "again with this release of Keras or an older one"
        ) from exc


def _disk_error(exc: OSError) -> LocalDiskError:
    return LocalDiskError(
        f"the temporary folder {tempfile.gettempdir()} cannot take a model "
        f"({exc.strerror or exc}); free space there or set TMPDIR"
    )


#: The oldest moment that a zip can hold: bytes must not depend on when they were written.
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
    # Keras writes id(object), and only compares them with each other.
    numbers: dict[bytes, int] = {}

    def number(match: re.Match[bytes]) -> bytes:
        return match[1] + str(numbers.setdefault(match[2], len(numbers) + 1)).encode()

    return re.sub(rb'("shared_object_id": )(\d+)', number, config)


def import_layers(layers: Mapping[str, str]) -> dict[str, type]:
    """The classes behind names.

    Args:
        layers: `package.module:ClassName` by any name; from `check_artifact`, so all are allowed.

    Returns:
        The class by the same names.

    Raises:
        ConfigError: One cannot be imported.
    """
    return {name: _class(layer) for name, layer in layers.items()}


def _class(layer: str) -> type:
    module, _, name = layer.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as exc:
        raise ConfigError(
            f"FORNADA_ALLOWED_LAYERS names {layer}, which cannot be imported ({exc}); install its "
            "package here"
        ) from exc
    if not isinstance(found, type):
        raise ConfigError(f"FORNADA_ALLOWED_LAYERS names {layer}, which is no class")
    return found
