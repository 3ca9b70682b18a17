"""The steps of `first_result`, each in a process of its own; prints what it took as JSON."""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fornada.settings import Settings
from model_store.engines.keras_setup import import_keras
from model_store.publishing.file import publish_file
from model_store.store import ModelStore

_MB = 1e6


def make(network: str, path: str) -> None:
    """Save a network with random weights."""
    keras = import_keras()
    keras.utils.set_random_seed(1)
    getattr(keras.applications, network)(weights=None).save(path)


def script(path: str, first_items: str, items: str, batch_size: str) -> dict[str, float]:
    """What a plain script does that has imported Keras: load, and predict."""
    keras = import_keras()
    images = np.random.default_rng(0).random((int(items), 224, 224, 3), np.float32)
    began_s = time.perf_counter()
    model = keras.saving.load_model(path, compile=False)
    model.predict(images[: int(first_items)], verbose=0)
    took_s = time.perf_counter() - began_s
    model.predict(images[: int(batch_size)], batch_size=int(batch_size), verbose=0)
    began_s = time.perf_counter()
    model.predict(images, batch_size=int(batch_size), verbose=0)
    return {"took_s": took_s, "images_per_s": len(images) / (time.perf_counter() - began_s)}


def publish(path: str) -> dict[str, float]:
    """Publish the file under its name in lower case, in a process as of the command."""
    models, name = _models(), Path(path).stem.lower()
    began_s = time.perf_counter()
    publish_file(Path(path), where=path, name=name, models=models)
    took_s = time.perf_counter() - began_s
    # Its own memory and that of the process behind the wall, whose peaks need not coincide.
    processes = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    peak_kib = sum(resource.getrusage(which).ru_maxrss for which in processes)
    return {"took_s": took_s, "peak_mb": peak_kib * 1024 / _MB}


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
    steps: dict[str, Any] = {"make": make, "script": script, "publish": publish, "tiny": tiny}
    print(json.dumps(steps[step](*arguments)))


if __name__ == "__main__":
    main()
