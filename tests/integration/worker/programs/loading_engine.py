"""Load a model over and over, with several tiles each time; tell the MiB that memory grew by."""

import gc
import sys
import tempfile
from pathlib import Path

import numpy as np

from fornada.formats.rows import Rows
from model_store.engines import keras_file, keras_setup
from model_store.engines.keras import KerasEngine
from model_store.testing import draft_for_test

_ITEM_SHAPE = (4,)
_TILES = range(1, 4)
_LOADS = 16


def main() -> None:
    engine = KerasEngine(threads=2, exact=False)
    keras = keras_setup.import_keras()
    # One layer has a mebibyte of weights.
    layers = [keras.layers.Dense(units) for units in (4, 4, 4, 4, 512, 512, 4)]
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder, "model.keras")
        keras_file.save_model(keras.Sequential([keras.Input(_ITEM_SHAPE), *layers]), artifact)
        _load(engine, artifact, times=_LOADS)
        before_mib = _resident_mib()
        _load(engine, artifact, times=_LOADS)
    sys.stdout.write(f"{_resident_mib() - before_mib}\n")


def _load(engine: KerasEngine, artifact: Path, *, times: int) -> None:
    draft = draft_for_test(item_shape=_ITEM_SHAPE, item_dtype="float32", classes=list("abcd"))
    for _ in range(times):
        model = engine.load(
            artifact, where="m", takes=draft.inputs, gives=draft.outputs, allowed_objects=()
        )
        for tile_items in _TILES:
            model.compile(tile_items)(Rows(np.zeros((tile_items, *_ITEM_SHAPE), np.float32)))
        del model
        gc.collect()


def _resident_mib() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    resident = next(line for line in status if line.startswith("VmRSS"))
    return int(resident.split()[1]) / 1024


if __name__ == "__main__":
    main()
