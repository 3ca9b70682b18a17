"""Publish a `.keras` file made elsewhere: check it, load it, make its golden batch."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fornada.errors import InputError, UsageError
from fornada.formats.items import Array, check_items
from fornada.formats.npy import from_npy
from fornada.keys import check_name
from fornada.records import Task
from fornada.storage.interface import Content
from fornada.tensors import Dtype, unnamed_tensors
from model_store.engines.artifact import activations
from model_store.engines.keras_file import load_model
from model_store.engines.keras_setup import import_keras_to_predict
from model_store.engines.memory import release_memory
from model_store.manifest import ModelDraft, ModelManifest
from model_store.publishing.checked import (
    GOLDEN_ITEMS,
    golden_outputs,
    made_up_count,
    named_classes,
    packages,
    publish_checked,
)
from model_store.safety.artifact_check import MAX_ARTIFACT_BYTES
from model_store.safety.signing import PrivateKey
from model_store.scratch import scratch_folder
from model_store.signature import read_signature, token_count
from model_store.store import ModelStore

#: A golden batch is predicted at every load, and more items would show no more.
MAX_GOLDEN_ITEMS = 1024
_MAX_CLASSES_BYTES = 10 * 1024**2
_METRIC = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_.-]{0,127})=(?P<value>[^=]+)", re.ASCII)


def publish_file(
    artifact: Content,
    *,
    where: str,
    name: str,
    models: ModelStore,
    task: Task = "classification",
    classes: Sequence[str] | None = None,
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
        task: What its outputs are: a probability per class, or values.
        classes: One name per output; by default they are numbered.
        golden: Item dtype [items, *item_shape]; by default items are generated.
        metrics: What is known about its quality, by name.
        sign_key: Signs the manifest.

    Raises:
        ModelRefusedError: The file is unsafe, Keras cannot build it, it does not take one array of
            a supported dtype and fixed shape, does not give a finite row of numbers per item, or
            gives other outputs after it was read back.
        InputError: The golden items do not fit the model.
        UsageError: `name` is not a valid name, or there are not as many classes as outputs.
        StoreError: The store cannot be reached or refuses.
    """
    check_name("model name", name)
    import_keras_to_predict()
    model = load_model(
        artifact,
        where=where,
        allowed_objects=models.trust.allowed_objects,
        functions=activations.tensorflow_functions(),
    )
    item_shape, item_dtype = read_signature(model, where)
    inputs = _golden_items(golden, item_shape, item_dtype, token_count(model), where)
    if golden is None:
        inputs = inputs[: made_up_count(model, inputs)]
    outputs = golden_outputs(model, inputs, where=where)
    # It would be in memory together with the one that is read back.
    del model
    release_memory(dropped=True)
    draft = ModelDraft.of_one(
        *unnamed_tensors(
            item_shape=item_shape,
            item_dtype=item_dtype,
            task=task,
            classes=named_classes(classes, outputs.shape[1], where),
        ),
        name=name,
        metrics=dict(metrics or {}),
        packages=packages(),
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
            f"{path.with_suffix('.keras').name}"
        )
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


def _golden_items(
    given: Array | None,
    item_shape: Sequence[int],
    item_dtype: Dtype,
    vocabulary: int | None,
    where: str,
) -> Array:
    if given is not None:
        items = check_items(
            given, item_shape=item_shape, item_dtype=item_dtype, model=where, where="--golden"
        )
        if not 0 < len(items) <= MAX_GOLDEN_ITEMS:
            raise InputError(f"--golden has {len(items)} items; give 1 to {MAX_GOLDEN_ITEMS}")
        return items
    return made_up_items(item_shape, item_dtype, vocabulary)


def made_up_items(item_shape: Sequence[int], item_dtype: Dtype, vocabulary: int | None) -> Array:
    """The golden batch of a model of which no real items are known.

    Args:
        item_shape: Shape of one item.
        item_dtype: dtype of the items.
        vocabulary: From `token_count`.
    """
    shape, rng = (GOLDEN_ITEMS, *item_shape), np.random.default_rng(0)
    if item_dtype == "float32":
        return rng.random(shape, np.float32)
    # Integers other than pixels are often numbers of a vocabulary that may be small.
    end = 256 if item_dtype == "uint8" else 2
    return rng.integers(0, min(end, vocabulary or end), shape, item_dtype)
