"""Says how far OpenVINO is from TensorFlow for each model of a folder; JSON on stdout.

The folder has models (`NAME.keras`) with inputs and TensorFlow's outputs (`NAME.npz`).
"""

import json
import sys
from pathlib import Path

import numpy as np

from fornada.formats.rows import Rows
from fornada.tensors import InputTensor, OutputTensor
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
        takes=[InputTensor(name="x", dtype=str(inputs.dtype), shape=list(inputs.shape[1:]))],
        gives=[OutputTensor(name="y", shape=list(outputs.shape[1:]), kind="values")],
        streams=1,
        precision="float32",
    )
    return check_golden(
        predict,
        inputs=Rows(inputs),
        outputs=Rows(outputs),
        tile_items=_TILE_ITEMS,
        where=path.stem,
    )


if __name__ == "__main__":
    found = {path.stem: _difference(path) for path in sorted(Path(sys.argv[1]).glob("*.keras"))}
    json.dump(found, sys.stdout)
