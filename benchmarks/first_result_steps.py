"""The steps of `first_result`, each in a process of its own; prints what it took as JSON."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fornada.settings import Settings
from model_store.engines.artifact import activations
from model_store.engines.keras_setup import import_keras
from model_store.publishing.file import publish_file
from model_store.store import ModelStore
from model_store.wall.limits import peak_bytes

_MB = 1e6


def make(network: str, path: str) -> None:
    """Save a network with random weights."""
    keras = import_keras()
    keras.utils.set_random_seed(1)
    if network == "Course":
        _course(keras).save(path)
    else:
        getattr(keras.applications, network)(weights=None).save(path)


def _course(keras: Any) -> Any:
    """The network of `examples/fashion_mnist.py`."""
    layers, tensorflow = keras.layers, sys.modules["tensorflow"]
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Flatten(),
            layers.Dense(256, activation=tensorflow.nn.relu),
            layers.Dropout(0.2),
            layers.Dense(10, activation=tensorflow.nn.softmax),
        ]
    )


def script(path: str, first_items: str, items: str, batch_size: str) -> dict[str, Any]:
    """What a plain script does that has imported Keras: load, and predict."""
    keras = import_keras()
    functions = activations.saved_functions()
    began_s = time.perf_counter()
    model = keras.saving.load_model(path, compile=False, custom_objects=functions)
    took_s = time.perf_counter() - began_s
    item_shape = model.input_shape[1:]
    images = np.random.default_rng(0).random((int(items), *item_shape), np.float32)
    began_s = time.perf_counter()
    model.predict(images[: int(first_items)], verbose=0)
    took_s += time.perf_counter() - began_s
    model.predict(images[: int(batch_size)], batch_size=int(batch_size), verbose=0)
    began_s = time.perf_counter()
    model.predict(images, batch_size=int(batch_size), verbose=0)
    images_per_s = len(images) / (time.perf_counter() - began_s)
    return {"item_shape": item_shape, "took_s": took_s, "images_per_s": images_per_s}


def publish(path: str) -> dict[str, float]:
    """Publish the file under its name in lower case, in a process as of the command."""
    models, name = _models(), Path(path).stem.lower()
    began_s = time.perf_counter()
    manifest = publish_file(Path(path), where=path, name=name, models=models)
    took_s = time.perf_counter() - began_s
    verdict = models.verdicts.find(manifest)
    assert verdict is not None
    # That of the process behind the wall, while this one waits with less.
    return {"took_s": took_s, "peak_mb": max(peak_bytes(), verdict.peak_bytes) / _MB}


def forget_verdict(network: str) -> None:
    """Leave the version without a verdict, as a publisher without a deployment's key does."""
    models = _models()
    manifest = models.resolve(network.lower())
    models.objects.delete(manifest.version_keys.verdict)


def tiny(path: str) -> None:
    """Publish a model that takes next to nothing."""
    keras = import_keras()
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(path)
    publish_file(Path(path), where=path, name="tiny", models=_models())


def _models() -> ModelStore:
    return ModelStore.from_settings(Settings.from_env(os.environ))


def main() -> None:
    """Run the step that the command line names."""
    step, *arguments = sys.argv[1:]
    steps = (make, script, publish, forget_verdict, tiny)
    by_name: dict[str, Any] = {each.__name__: each for each in steps}
    print(json.dumps(by_name[step](*arguments)))


if __name__ == "__main__":
    main()
