"""Says how far OpenVINO is from TensorFlow for each model of a folder; JSON on stdout.

The folder has models (`NAME.keras`) with inputs and TensorFlow's outputs (`NAME.npz`).
"""

import json
import sys
from pathlib import Path

import numpy as np

from model_store.engines.golden import check_golden
from model_store.engines.keras_file import load_model
from model_store.engines.openvino.engine import compile_predict

_TILE_ITEMS = 8


def _difference(path: Path) -> float:
    with np.load(path.with_suffix(".npz")) as arrays:
        inputs, outputs = arrays["inputs"], arrays["outputs"]
    predict = compile_predict(
        load_model(path.read_bytes(), where=path.stem, backend="openvino"),
        tile_items=_TILE_ITEMS,
        item_shape=inputs.shape[1:],
        item_dtype=str(inputs.dtype),
        streams=1,
        precision="float32",
    )
    return check_golden(
        predict, inputs=inputs, outputs=outputs, tile_items=_TILE_ITEMS, where=path.stem
    )


if __name__ == "__main__":
    found = {path.stem: _difference(path) for path in sorted(Path(sys.argv[1]).glob("*.keras"))}
    json.dump(found, sys.stdout)
