"""Load a model over and over, with several tiles each time; tell the MiB that memory grew by."""

import gc
import sys
from pathlib import Path

import numpy as np

from model_store.engines import keras_file, keras_setup
from model_store.engines.keras import KerasEngine
from model_store.manifest import ModelManifest

_ITEM_SHAPE = (4,)
_TILES = range(1, 4)
_LOADS = 16


def main() -> None:
    engine = KerasEngine(threads=2, exact=False)
    keras = keras_setup.import_keras()
    # One layer has a mebibyte of weights.
    layers = [keras.layers.Dense(units) for units in (4, 4, 4, 4, 512, 512, 4)]
    artifact = keras_file.dump_model(keras.Sequential([keras.Input(_ITEM_SHAPE), *layers]))

    _load(engine, artifact, times=_LOADS)
    before_mib = _resident_mib()
    _load(engine, artifact, times=_LOADS)
    sys.stdout.write(f"{_resident_mib() - before_mib}\n")


def _load(engine: KerasEngine, artifact: bytes, *, times: int) -> None:
    manifest = ModelManifest.model_construct(
        name="m", version=1, item_shape=list(_ITEM_SHAPE), item_dtype="float32"
    )
    for _ in range(times):
        compile_for = engine.load(manifest, artifact, allowed_objects=())
        for tile_items in _TILES:
            compile_for(tile_items)(np.zeros((tile_items, *_ITEM_SHAPE), np.float32))
        del compile_for
        gc.collect()


def _resident_mib() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    resident = next(line for line in status if line.startswith("VmRSS"))
    return int(resident.split()[1]) / 1024


if __name__ == "__main__":
    main()
