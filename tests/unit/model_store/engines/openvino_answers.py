"""Run models on OpenVINO for `test_openvino`, in a process of their own; JSON on stdout.

The argument is a folder of models (`NAME.keras`) with items and TensorFlow's outputs (`NAME.npz`).
"""

import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fornada.errors import FornadaError
from fornada.formats.rows import Rows
from fornada.tensors import InputTensor, OutputTensor
from model_store.engines import golden
from model_store.engines.keras_file import load_model
from model_store.engines.openvino import engine

Predict = Callable[[np.ndarray], np.ndarray]

_TILE_ITEMS = 8
_CALLERS = 5


def main() -> None:
    """Print all answers."""
    folder = Path(sys.argv[1])
    answers = {path.stem: _of_model(path) for path in sorted(folder.glob("*.keras"))}
    answers["bfloat16"] = _in_bfloat16(folder / "mlp.keras")
    answers["wrong tile"] = _refusal(lambda: _predict(folder / "mlp.keras")(np.zeros((7, 4, 4))))
    answers["wrong shape"] = _refusal(lambda: _predict(folder / "mlp.keras", item_shape=(5, 5)))
    answers["tokens"] = _of_tokens(folder / "of any length.keras")
    answers["several"] = _of_several(folder / "several" / "model.keras")
    answers["text"] = _of_text(folder / "mlp.keras")
    answers["too small"] = _of_sides(folder / "of any size.keras")
    answers["no bfloat16"] = _without_bfloat16()
    answers["imported"] = sorted(
        {name.partition(".")[0] for name, module in sys.modules.items() if module is not None}
    )
    json.dump(answers, sys.stdout)


def _predict(
    path: Path,
    *,
    item_shape: Sequence[int | None] = (4, 4),
    item_dtype: str = "uint8",
    streams: int = 2,
    precision: engine.Precision = "float32",
) -> Predict:
    model = load_model(path.read_bytes(), where=path.stem, backend="openvino")
    shape = list(model.output_shape[1:])
    predict = engine.compile_predict(
        model,
        tile_items=_TILE_ITEMS,
        takes=[InputTensor(name="items", dtype=item_dtype, shape=list(item_shape))],
        gives=[OutputTensor(name="outputs", shape=shape, kind="tensor")],
        streams=streams,
        precision=precision,
    )
    return lambda array: predict(Rows(array)).only


def predict_items(predict: Predict, items: np.ndarray, *, tile_items: int) -> np.ndarray:
    found = golden.predict_items(
        lambda rows: Rows(predict(rows.only)), Rows(items), tile_items=tile_items
    )
    return found.only


def _of_model(path: Path) -> dict[str, Any]:
    with np.load(path.with_suffix(".npz")) as arrays:
        items, expected = arrays["items"], arrays["outputs"]
    # As from a download.
    items.flags.writeable = False
    options = json.loads(path.with_suffix(".json").read_text())
    try:
        predict = _predict(path, **options)
    except FornadaError as exc:
        return {"refused": f"{type(exc).__name__}: {exc}"}
    found = predict_items(predict, items, tile_items=_TILE_ITEMS)
    order = np.random.default_rng(1).permutation(len(items))
    shuffled = predict_items(predict, items[order], tile_items=_TILE_ITEMS)
    in_one = _predict(path, **options, streams=1)
    alone = predict_items(in_one, items, tile_items=_TILE_ITEMS)
    return {
        "difference": float(np.max(np.abs(found - expected))),
        "same_in_any_batch": found[order].tobytes() == shuffled.tobytes(),
        "same_in_one_stream": found.tobytes() == alone.tobytes(),
        "same_for_many_callers": all(
            found.tobytes() == of_caller.tobytes()
            for some in (predict, in_one)
            for of_caller in _for_many_callers(some, items)
        ),
    }


def _of_several(path: Path) -> dict[str, Any]:
    """How far the outputs of a model of several are from TensorFlow's, and their dtypes."""
    with np.load(path.with_suffix(".npz")) as arrays:
        given = dict(arrays)
    takes = [
        InputTensor(name=name, dtype=str(given[name].dtype), shape=list(given[name].shape[1:]))
        for name in ("photo", "words")
    ]
    gives = [
        OutputTensor(name=name, dtype=str(array.dtype), shape=list(array.shape[1:]), kind="tensor")
        for name, array in given.items()
        if name not in {"photo", "words"}
    ]
    predict = engine.compile_predict(
        load_model(path.read_bytes(), where="several", backend="openvino"),
        tile_items=_TILE_ITEMS,
        takes=takes,
        gives=gives,
        streams=2,
        precision="float32",
    )
    items = Rows.of(given, takes)
    found = golden.predict_items(predict, items, tile_items=_TILE_ITEMS).named(gives)
    photo, words = (given[name][:_TILE_ITEMS].copy() for name in ("photo", "words"))
    words[0, 0] = 10
    return {
        "differences": {
            name: float(np.max(np.abs(array.astype(float) - given[name])))
            for name, array in found.items()
        },
        "dtypes": {name: str(array.dtype) for name, array in found.items()},
        "outside of the table": _refusal(lambda: predict(Rows(photo, words))),
    }


def _of_text(path: Path) -> str:
    loaded = engine.OpenVINOEngine(threads=1, precision="float32")
    text = InputTensor(name="text", dtype="string", shape=[])
    return _refusal(
        lambda: loaded.load(path, where="m:1", takes=[text], gives=[], allowed_objects=())
    )


def _of_tokens(path: Path) -> dict[str, str]:
    """What comes of tokens, of which the model has 10."""
    predict = _predict(path, item_shape=(None,), item_dtype="int64")
    return {
        str(token): _refusal(lambda token=token: predict(np.array([[1, token, 2, 3]])))
        for token in (9, 10, -10, -11, 2**32 + 5)
    }


def _of_sides(path: Path) -> list[str]:
    """What comes of images with sides of 1 to 8 pixels."""
    predict = _predict(path, item_shape=(None, None, 3), item_dtype="float32")
    return [
        _refusal(lambda side=side: predict(np.ones((2, side, side, 3), np.float32)))
        for side in range(1, 9)
    ]


def _for_many_callers(predict: Predict, items: np.ndarray) -> list[np.ndarray]:
    """What each of several callers is given; there are more callers than streams."""
    with ThreadPoolExecutor(_CALLERS) as pool:
        asked = [
            pool.submit(predict_items, predict, items, tile_items=_TILE_ITEMS)
            for _ in range(_CALLERS)
        ]
        return [caller.result() for caller in asked]


def _in_bfloat16(path: Path) -> dict[str, Any]:
    try:
        engine.check_precision("bfloat16")
    except FornadaError as exc:
        return {"refused": str(exc)}
    with np.load(path.with_suffix(".npz")) as arrays:
        items, expected = arrays["items"], arrays["outputs"]
    found = predict_items(_predict(path, precision="bfloat16"), items, tile_items=_TILE_ITEMS)
    return {"difference": float(np.max(np.abs(found - expected)))}


def _without_bfloat16() -> str:
    class OldCpu:
        def get_property(self, _device: str, _name: str) -> list[str]:
            return ["FP32", "INT8"]

    openvino: Any = sys.modules["openvino"]
    core, openvino.Core = openvino.Core, OldCpu
    try:
        return _refusal(lambda: engine.check_precision("bfloat16"))
    finally:
        openvino.Core = core


def _refusal(call: Any) -> str:
    try:
        call()
    except FornadaError as exc:
        return f"{type(exc).__name__}: {exc}"
    return "nothing was raised"


if __name__ == "__main__":
    main()
