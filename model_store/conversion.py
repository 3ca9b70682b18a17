"""Old Keras files, `.h5` and SavedModel folders with a Keras model in them, become `.keras` files.

Loading them may run code that they hold: only convert what you trust.
"""

import contextlib
import importlib
import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from fornada.errors import InputError, LocalDiskError, ModelRefusedError, UsageError, error_line
from fornada.files.refusals import what_helps
from model_store.engines.artifact import activations
from model_store.engines.keras_file import custom_objects, save_model
from model_store.engines.keras_setup import import_keras, import_tensorflow
from model_store.safety.artifact_check import check_artifact
from model_store.scratch import scratch_folder

_HDF5 = {".h5", ".hdf5"}
_GRAPH, _METADATA = "saved_model.pb", "keras_metadata.pb"
_KERAS_2_MODELS = {"Functional", "Model", "Sequential"}
#: Settings that Keras 3 knows no more, with the defaults that it means by their absence.
_GONE: dict[str, dict[str, Any]] = {
    **{name: {"time_major": False} for name in ("GRU", "LSTM", "RNN", "SimpleRNN")},
    **{f"Conv{n}DTranspose": {"groups": 1} for n in "123"},
    **{f"{kind}Conv{n}D": {"groups": 1} for kind in ("Depthwise", "Separable") for n in "12"},
}
#: Items on which a SavedModel's own graph and the model made of it are compared.
_ITEM_COUNT = 4
#: As golden batches are compared, relative to the largest output.
_TOLERANCE = 1e-4


def convert(old: Path, new: Path, *, allowed_objects: Collection[str] = ()) -> None:
    """Write the Keras model of an old file into a `.keras` file.

    Args:
        old: An `.h5` file, or a SavedModel folder that Keras 2 wrote.
        new: The file to write.
        allowed_objects: Code that the model may use, as `Trust.allowed_objects`.

    Raises:
        UsageError: It is another kind of file.
        InputError: It cannot be read.
        ModelRefusedError: It holds no Keras model, Keras cannot build it, it gives other outputs
            than the old file, or it could not be published.
        LocalDiskError: `new` or the temporary folder cannot be written.
    """
    if old.is_dir() and (old / _GRAPH).exists():
        load = _from_saved_model
    elif old.suffix in _HDF5 and not old.is_dir():
        load = _from_hdf5
    else:
        raise UsageError(
            f"{old} is neither an .h5 file nor a SavedModel folder ({_GRAPH}); "
            + (
                "publish it as it is"
                if old.suffix == ".keras"
                else "give the model's file or folder"
            )
        )
    if not old.exists():
        raise InputError(f"{old} does not exist; check the path")
    keras = import_keras("tensorflow" if load is _from_saved_model else None)
    known = {**activations.saved_functions(), **_by_all_names(allowed_objects)}
    with keras.saving.custom_object_scope(known):
        try:
            model = load(old)
        except (ModelRefusedError, MemoryError):
            raise
        except Exception as exc:
            # Layers raise anything.
            raise ModelRefusedError(
                f"{old} cannot be loaded by Keras {keras.__version__}: {error_line(exc)}; load it "
                "with the release that wrote it, and save it with model.save('model.keras')"
            ) from exc
        with scratch_folder() as folder:
            made = folder / "model.keras"
            save_model(model, made)
            check_artifact(made, where=f"the model in {old}", allowed_objects=allowed_objects)
            try:
                shutil.copyfile(made, new)
            except OSError as exc:
                raise LocalDiskError(
                    f"{new} cannot be written ({exc.strerror or exc}); {what_helps(exc)}, or name "
                    "another file"
                ) from exc


def _by_all_names(allowed_objects: Collection[str]) -> dict[str, Any]:
    """Allowed objects by registered name, and by the class name that old files have."""
    named = {}
    for entry in allowed_objects:
        registered, _, target = entry.rpartition("=")
        name = target.rpartition(":")[2]
        for key in (registered or name, name):
            named[key] = target
    return custom_objects(named)


def _from_hdf5(old: Path) -> Any:
    keras = import_keras()
    h5py: Any = importlib.import_module("h5py")
    with scratch_folder() as folder:
        copy = folder / "model.h5"
        shutil.copyfile(old, copy)
        with h5py.File(copy, "r+") as file:
            config = json.loads(file.attrs.get("model_config", "null"))
            if config is None:
                raise ModelRefusedError(
                    f"{old} holds weights and no model; load them into the model, and save it with "
                    "model.save('model.keras')"
                )
            file.attrs["model_config"] = json.dumps(_without_gone_settings(config))
        return keras.saving.load_model(copy, compile=False)


def _without_gone_settings(config: Any) -> Any:
    """A configuration of Keras 2 without the settings that Keras 3 knows no more, at defaults."""
    if isinstance(config, list):
        return [_without_gone_settings(part) for part in config]
    if not isinstance(config, dict):
        return config
    gone = _GONE.get(str(config.get("class_name")), {})
    cleaned = {key: _without_gone_settings(value) for key, value in config.items()}
    if gone and isinstance(cleaned.get("config"), dict):
        cleaned["config"] = {
            key: value
            for key, value in cleaned["config"].items()
            if key not in gone or value != gone[key]
        }
    return cleaned


def _from_saved_model(old: Path) -> Any:
    config = _keras_2_config(old)
    legacy: Any = importlib.import_module("keras.src.legacy.saving.saving_utils")
    options: Any = importlib.import_module("keras.src.legacy.saving.saving_options")
    with options.keras_option_scope(use_legacy_config=True):
        model = legacy.model_from_config(_without_gone_settings(config))
    saved = import_tensorflow().saved_model.load(str(old))
    _take_weights(model, saved, old)
    _check_outputs(model, saved, old)
    return model


def _keras_2_config(old: Path) -> dict[str, Any]:
    """Class and configuration of the model, as Keras 2 writes them beside the graph."""
    import_tensorflow()
    messages: Any = importlib.import_module("tensorflow.python.keras.protobuf.saved_metadata_pb2")
    metadata = messages.SavedMetadata()
    with contextlib.suppress(FileNotFoundError):
        metadata.ParseFromString((old / _METADATA).read_bytes())
    for node in metadata.nodes:
        if node.node_path == "root":
            # Knows how Keras 2 writes tuples.
            reader: Any = importlib.import_module("keras.src.legacy.saving.json_utils")
            found = reader.decode(node.metadata)
            if found.get("class_name") in _KERAS_2_MODELS and "config" in found:
                return {"class_name": found["class_name"], "config": found["config"]}
            raise ModelRefusedError(
                f"{old} holds a model of the class {found.get('class_name')}, of which only code "
                "knows how it computes; load it with that code, and save it with "
                "model.save('model.keras')"
            )
    raise ModelRefusedError(
        f"{old} holds a graph for serving and no Keras model (no {_METADATA}); save the model "
        "where it was trained with model.save('model.keras')"
    )


def _take_weights(model: Any, saved: Any, old: Path) -> None:
    given = list(getattr(saved, "variables", []))
    trainable = {id(variable) for variable in getattr(saved, "trainable_variables", [])}
    pairs = [
        (model.trainable_weights, [found for found in given if id(found) in trainable]),
        (model.non_trainable_weights, [found for found in given if id(found) not in trainable]),
    ]
    for weights, values in pairs:
        shapes = [tuple(value.shape) for value in values]
        if [tuple(weight.shape) for weight in weights] != shapes:
            raise ModelRefusedError(
                f"{old} holds weights of the shapes {shapes}, which do not fit its layers; save "
                "the model where it was trained with model.save('model.keras')"
            )
        for weight, value in zip(weights, values, strict=True):
            weight.assign(value.numpy())


def _check_outputs(model: Any, saved: Any, old: Path) -> None:
    """Check that the graph of the SavedModel gives what the model gives."""
    graph = saved.signatures.get("serving_default")
    given = {} if graph is None else graph.structured_input_signature[1]
    names = [found.name for found in model.inputs]
    if len(given) == len(names) == 1:
        names = list(given)
    if graph is None or set(names) != set(given):
        raise ModelRefusedError(
            f"{old} has no serving graph of the inputs {names} to compare with; save the model "
            "where it was trained with model.save('model.keras')"
        )
    items = {name: _items(spec) for name, spec in given.items()}
    wanted = [np.asarray(value) for _, value in sorted(graph(**items).items())]
    outputs = model([items[name] for name in names] if len(names) > 1 else items[names[0]])
    tree: Any = import_keras().tree
    got = [np.asarray(value) for value in tree.flatten(outputs)]
    if len(got) > 1:
        # By name, as the graph has them.
        got = [value for _, value in sorted(zip(model.output_names, got, strict=True))]
    for one, other in zip(got, wanted, strict=True):
        scale = max(1.0, float(np.abs(other).max(initial=0)))
        if one.shape != other.shape or not np.abs(one - other).max(initial=0) <= _TOLERANCE * scale:
            raise ModelRefusedError(
                f"{old} gives other outputs than the model made of it; save the model where it "
                "was trained with model.save('model.keras')"
            )


def _items(spec: Any) -> Any:
    """Made-up items: fractions, or numbers that any vocabulary has."""
    tensorflow = import_tensorflow()
    shape = [_ITEM_COUNT, *(8 if size is None else size for size in spec.shape[1:])]
    if spec.dtype == tensorflow.string:
        return tensorflow.fill(shape, "a")
    rng = np.random.default_rng(0)
    numbers = rng.random(shape) if spec.dtype.is_floating else rng.integers(0, 2, shape)
    return tensorflow.cast(numbers, spec.dtype)
