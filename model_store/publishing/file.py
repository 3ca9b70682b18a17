"""Publish a `.keras` file made elsewhere: check it, load it, make its golden batch."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from fornada import logs
from fornada.errors import InputError, UsageError
from fornada.keys import check_name
from fornada.storage.interface import Content, content_size_bytes
from model_store.engines.artifact import activations
from model_store.engines.catalog import publishing_engine
from model_store.manifest import ModelDraft, ModelManifest
from model_store.publishing.checked import publish_checked, the_models_fault
from model_store.publishing.description import GOLDEN_INPUTS, GOLDEN_OUTPUTS
from model_store.publishing.golden_items import MAX_GOLDEN_ITEMS
from model_store.publishing.stated import Stated
from model_store.safety.artifact_check import MAX_ARTIFACT_BYTES
from model_store.safety.signing import PrivateKey
from model_store.scratch import scratch_folder
from model_store.store import ModelStore
from model_store.wall.limits import WallLimits
from model_store.wall.messages import Describe, Described

log = logs.get_logger(__name__)

_GOLDEN_SUFFIXES = (".npy", ".npz", ".safetensors")
_MAX_CLASSES_BYTES = 10 * 1024**2
_METRIC = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_.-]{0,127})=(?P<value>[^=]+)", re.ASCII)


def publish_file(
    artifact: Content,
    *,
    where: str,
    name: str,
    models: ModelStore,
    stated: Stated | None = None,
    golden: Path | None = None,
    metrics: Mapping[str, float] | None = None,
    sign_key: PrivateKey | None = None,
) -> ModelManifest:
    """Publish a `.keras` file as the next version of model `name`.

    Args:
        artifact: The file, or its bytes; stored unchanged but for activations of TensorFlow.
        where: What it was read from, for messages.
        name: The model's name in the store.
        models: Where to publish.
        stated: What its publisher says about input and output.
        golden: A file of typical items: `.npy`, or `.npz` or `.safetensors` by the names of
            inputs. By default items are generated.
        metrics: What is known about its quality, by name.
        sign_key: Signs the manifest.

    The file is loaded behind the wall alone, not in this process.

    Raises:
        ModelRefusedError: The file is unsafe, Keras cannot build it within the wall's limits, it
            takes or gives what is not supported (`read_signature`), gives NaN or infinity, or gives
            other outputs after it was read back.
        InputError: The golden items do not fit the model.
        UsageError: `name` is not a valid name, or what is stated does not fit the model.
        StoreError: The store cannot be reached or refuses.
    """
    check_name("model name", name)
    stated = stated or Stated()
    stated.check()
    golden_count = 0 if golden is None else MAX_GOLDEN_ITEMS
    limits = WallLimits.of_artifact(content_size_bytes(artifact), golden_count=golden_count)
    with scratch_folder() as folder, models.open_wall(limits) as wall:
        request = Describe(
            artifact=str(_as_file(artifact, folder)),
            where=where,
            allowed_objects=sorted(models.trust.allowed_objects),
            engine=publishing_engine(),
            stated=asdict(stated),
            golden=None if golden is None else str(golden.absolute()),
            folder=str(folder),
        )
        with the_models_fault():
            found = wall.describe(request)
        _warn(found, where)
        return publish_checked(
            ModelDraft(
                name=name,
                inputs=found.inputs,
                outputs=found.outputs,
                metrics=dict(metrics or {}),
                packages=found.packages,
            ),
            artifact=Path(found.artifact),
            inputs=folder / GOLDEN_INPUTS,
            outputs=folder / GOLDEN_OUTPUTS,
            models=models,
            wall=wall,
            where=where,
            sign_key=sign_key,
        )


def _warn(found: Described, where: str) -> None:
    for given in found.outputs:
        if given.name in found.hints:
            log.warning("; ".join([f"{where} gives {given}", found.hints[given.name]]))
    if found.dropped is not None:
        log.warning(" ".join([f"{where}", found.dropped]))


def _as_file(artifact: Content, folder: Path) -> Path:
    if not isinstance(artifact, bytes):
        return artifact.absolute()
    path = folder / "given.keras"
    path.write_bytes(artifact)
    return path


def check_file(path: Path) -> Path:
    """The path of a `.keras` file, checked.

    Raises:
        UsageError: It is another kind of file.
        InputError: It cannot be read, or is too large.
    """
    if path.is_dir() or path.suffix in {".h5", ".hdf5"}:
        raise UsageError(
            f"{path} is not a .keras file but {'a folder' if path.is_dir() else 'HDF5'}, which can "
            f"hold code; where you trust it, run: fornada models convert {path} "
            f"{path.resolve().stem or 'model'}.keras"
        )
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is not a regular file; copy it into one")
    if path.suffix != ".keras":
        raise UsageError(
            f"{path} is not a .keras file; save the model with model.save('model.keras'), or run "
            f"`fornada models convert` on an .h5 file or a SavedModel folder"
        )
    _check_size(path, limit_bytes=MAX_ARTIFACT_BYTES)
    return path


def replaced_activations(artifact: Content) -> dict[str, str]:
    """The activations that publishing replaces: `softmax` by `tf.nn.softmax`.

    Args:
        artifact: A `.keras` file that was published.
    """
    return activations.replacements(artifact)


def check_golden_file(path: Path) -> Path:
    """The path of a file of golden items, checked.

    Raises:
        UsageError: It is another kind of file.
        InputError: It cannot be read, or is too large.
    """
    if path.suffix not in _GOLDEN_SUFFIXES:
        raise UsageError(f"{path} holds no golden items; give {', '.join(_GOLDEN_SUFFIXES)}")
    _check_size(path, limit_bytes=MAX_ARTIFACT_BYTES)
    return path


def read_classes(path: Path) -> list[str]:
    """The class names in a JSON array, such as `fornada dataset` writes.

    Raises:
        InputError: It cannot be read, or is not such an array.
    """
    data = _read(path, limit_bytes=_MAX_CLASSES_BYTES)
    try:
        classes = json.loads(data)
    except (ValueError, RecursionError):
        classes = None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise InputError(f'{path} is not a JSON array of class names, such as ["cat", "dog"]')
    return classes


def parse_metrics(texts: Sequence[str]) -> dict[str, float]:
    """Metrics by name, each from `NAME=NUMBER`.

    Raises:
        UsageError: One is not written so.
    """
    metrics = {}
    for text in texts:
        match = _METRIC.fullmatch(text)
        try:
            value = float(match["value"]) if match else np.nan
        except ValueError:
            value = np.nan
        if match is None or not np.isfinite(value):
            raise UsageError(f"metric {text!r} is not NAME=NUMBER; write e.g. test_accuracy=0.91")
        metrics[match["name"]] = value
    return metrics


def _read(path: Path, *, limit_bytes: int) -> bytes:
    _check_size(path, limit_bytes=limit_bytes)
    return path.read_bytes()


def _check_size(path: Path, *, limit_bytes: int) -> None:
    try:
        with path.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
    except OSError as exc:
        raise InputError(f"{path} cannot be read ({exc.strerror or exc}); check the path") from exc
    if size_bytes > limit_bytes:
        raise InputError(f"{path} has {size_bytes} bytes; give at most {limit_bytes}")
