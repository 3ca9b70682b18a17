"""Publish a `.keras` file made elsewhere: check it, load it, make its golden batch."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fornada import logs
from fornada.errors import InputError, UsageError
from fornada.formats.items import Array
from fornada.formats.npy import from_npy
from fornada.keys import check_name
from fornada.memory import release_memory
from fornada.storage.interface import Content
from model_store.engines.artifact import activations
from model_store.engines.artifact.archive import read_config
from model_store.engines.keras_file import load_model
from model_store.engines.keras_setup import import_keras_to_predict
from model_store.manifest import ModelDraft, ModelManifest
from model_store.publishing.checked import golden_outputs, packages, publish_checked
from model_store.publishing.golden_items import as_items, check_golden_count, made_up_golden
from model_store.publishing.kinds import Loss
from model_store.publishing.stated import Stated
from model_store.safety.artifact_check import MAX_ARTIFACT_BYTES
from model_store.safety.signing import PrivateKey
from model_store.scratch import scratch_folder
from model_store.signature import read_signature
from model_store.store import ModelStore

log = logs.get_logger(__name__)

_MAX_CLASSES_BYTES = 10 * 1024**2
_METRIC = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_.-]{0,127})=(?P<value>[^=]+)", re.ASCII)


def publish_file(
    artifact: Content,
    *,
    where: str,
    name: str,
    models: ModelStore,
    stated: Stated | None = None,
    golden: Array | None = None,
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
        golden: Item dtype [items, *item_shape]; by default items are generated.
        metrics: What is known about its quality, by name.
        sign_key: Signs the manifest.

    Raises:
        ModelRefusedError: The file is unsafe, Keras cannot build it, it takes or gives what is not
            supported (`read_signature`), gives NaN or infinity, or gives other outputs after it was
            read back.
        InputError: The golden items do not fit the model.
        UsageError: `name` is not a valid name, or what is stated does not fit the model.
        StoreError: The store cannot be reached or refuses.
    """
    check_name("model name", name)
    import_keras_to_predict()
    stated = stated or Stated()
    stated.check()
    model = load_model(
        artifact,
        where=where,
        allowed_objects=models.trust.allowed_objects,
        functions=activations.tensorflow_functions(),
    )
    signature = read_signature(model, where).with_dtype_of(golden)
    taken = stated.input_of(signature, where=where)
    allow_nan = stated.allows_nan_outputs
    if golden is None:
        inputs, outputs = made_up_golden(model, taken, where=where, allow_nan=allow_nan)
    else:
        inputs = as_items(golden, taken, where=where, argument="--golden")
        check_golden_count(inputs, argument="--golden")
        outputs = golden_outputs(model, inputs, where=where, allow_nan=allow_nan)
    loss = Loss.of(read_config(artifact).get("compile_config"))
    given, hint = stated.output_of(signature, model=model, outputs=outputs, loss=loss, where=where)
    if hint is not None:
        log.warning("; ".join([f"{where} gives {given}", hint]))
    # It would be in memory together with the one that is read back.
    del model
    release_memory(dropped=True)
    draft = ModelDraft.of_one(
        taken, given, name=name, metrics=dict(metrics or {}), packages=packages()
    )
    with scratch_folder() as folder:
        return publish_checked(
            draft,
            # Keras could not load TensorFlow's activations again; the golden batch compares what
            # the model gives with both.
            artifact=activations.published(artifact, folder),
            inputs=inputs,
            outputs=outputs,
            models=models,
            where=where,
            sign_key=sign_key,
        )


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


def read_golden(path: Path) -> Array:
    """The items in a `.npy` file.

    Raises:
        InputError: It cannot be read, or is not an array of numbers.
    """
    return from_npy(_read(path, limit_bytes=MAX_ARTIFACT_BYTES), where=str(path))


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
