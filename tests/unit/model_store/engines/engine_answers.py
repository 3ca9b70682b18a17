"""Run models on an engine for `test_openvino_and_jax`, in a process of its own; JSON on stdout.

The arguments are an engine and a folder of models (`NAME.keras`) with items and TensorFlow's
outputs (`NAME.npz`).
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
from model_store.engines.catalog import open_engine
from model_store.engines.interface import Engine

Predict = Callable[[np.ndarray], np.ndarray]

_TILE_ITEMS = 8
_CALLERS = 5


def main() -> None:
    """Print all answers."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    on = _Models(open_engine(name, threads=2))
    alone = _Models(open_engine(name, threads=1))
    answers = {path.stem: _of_model(path, on, alone) for path in sorted(folder.glob("*.keras"))}
    answers["bfloat16"] = _in_bfloat16(
        name, [folder / f"{model}.keras" for model in ("mlp", "cnn")]
    )
    answers["wrong tile"] = _refusal(lambda: on.mlp(folder)(np.zeros((7, 4, 4))))
    answers["wrong shape"] = _refusal(lambda: on.mlp(folder, item_shape=(5, 5)))
    answers["tokens"] = _of_tokens(folder / "of any length.keras", on)
    answers["several"] = _of_several(folder / "several" / "model.keras", on)
    answers["text"] = _of_text(folder / "mlp.keras", on)
    answers["too small"] = _of_sides(folder / "of any size.keras", on)
    answers["name"] = on.engine.name
    if name == "openvino":
        answers["no bfloat16"] = _without_bfloat16()
    answers["imported"] = sorted(
        {name.partition(".")[0] for name, module in sys.modules.items() if module is not None}
    )
    json.dump(answers, sys.stdout)


class _Models:
    """Models of one input and one output on an engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def predict(
        self,
        path: Path,
        *,
        item_shape: Sequence[int | None],
        item_dtype: str,
        output_shape: Sequence[int],
    ) -> Predict:
        """A predict call, over arrays."""
        gives = [OutputTensor(name="outputs", shape=list(output_shape), kind="tensor")]
        takes = [InputTensor(name="items", dtype=item_dtype, shape=list(item_shape))]
        loaded = self.engine.load(
            path, where=path.stem, takes=takes, gives=gives, allowed_objects=()
        )
        compiled = loaded.compile(_TILE_ITEMS)
        return lambda array: compiled(Rows(array)).only

    def mlp(self, folder: Path, *, item_shape: Sequence[int] = (4, 4)) -> Predict:
        """That of the model `mlp`."""
        return self.predict(
            folder / "mlp.keras", item_shape=item_shape, item_dtype="uint8", output_shape=[3]
        )


def predict_items(predict: Predict, items: np.ndarray, *, tile_items: int) -> np.ndarray:
    found = golden.predict_items(
        lambda rows: Rows(predict(rows.only)), Rows(items), tile_items=tile_items
    )
    return found.only


def _of_model(path: Path, on: _Models, alone: _Models) -> dict[str, Any]:
    with np.load(path.with_suffix(".npz")) as arrays:
        items, expected = arrays["items"], arrays["outputs"]
    # As from a download.
    items.flags.writeable = False
    options = json.loads(path.with_suffix(".json").read_text())
    options["output_shape"] = expected.shape[1:]
    try:
        predict = on.predict(path, **options)
    except FornadaError as exc:
        return {"refused": f"{type(exc).__name__}: {exc}"}
    found = predict_items(predict, items, tile_items=_TILE_ITEMS)
    order = np.random.default_rng(1).permutation(len(items))
    shuffled = predict_items(predict, items[order], tile_items=_TILE_ITEMS)
    in_one = alone.predict(path, **options)
    of_one = predict_items(in_one, items, tile_items=_TILE_ITEMS)
    return {
        "difference": float(np.max(np.abs(found - expected))),
        "same_in_any_batch": found[order].tobytes() == shuffled.tobytes(),
        "same_in_one_stream": found.tobytes() == of_one.tobytes(),
        "same_for_many_callers": all(
            found.tobytes() == of_caller.tobytes()
            for some in (predict, in_one)
            for of_caller in _for_many_callers(some, items)
        ),
    }


def _of_several(path: Path, on: _Models) -> dict[str, Any]:
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
    loaded = on.engine.load(path, where="several", takes=takes, gives=gives, allowed_objects=())
    predict = loaded.compile(_TILE_ITEMS)
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


def _of_text(path: Path, on: _Models) -> str:
    text = InputTensor(name="text", dtype="string", shape=[])
    return _refusal(
        lambda: on.engine.load(path, where="m:1", takes=[text], gives=[], allowed_objects=())
    )


def _of_tokens(path: Path, on: _Models) -> dict[str, str]:
    """What comes of tokens, of which the model has 10."""
    predict = on.predict(path, item_shape=(None,), item_dtype="int64", output_shape=[2])
    return {
        str(token): _refusal(lambda token=token: predict(np.array([[1, token, 2, 3]])))
        for token in (9, 10, -10, -11, 2**32 + 5)
    }


def _of_sides(path: Path, on: _Models) -> list[str]:
    """What comes of images with sides of 1 to 8 pixels."""
    predict = on.predict(path, item_shape=(None, None, 3), item_dtype="float32", output_shape=[2])
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


def _in_bfloat16(name: str, paths: Sequence[Path]) -> dict[str, Any]:
    """How far outputs are from TensorFlow's in float32, by model, and who gives them."""
    try:
        on = _Models(open_engine(f"{name}-bf16", threads=2))
    except FornadaError as exc:
        return {"refused": str(exc)}
    found = [_of_model(path, on, on) for path in paths]
    return {
        "name": on.engine.name,
        "differences": {
            path.stem: answers["difference"] for path, answers in zip(paths, found, strict=True)
        },
        "same in any batch": all(answers["same_in_any_batch"] for answers in found),
    }


def _without_bfloat16() -> str:
    class OldCpu:
        def get_property(self, _device: str, _name: str) -> list[str]:
            return ["FP32", "INT8"]

    openvino: Any = sys.modules["openvino"]
    core, openvino.Core = openvino.Core, OldCpu
    try:
        return _refusal(lambda: open_engine("openvino-bf16", threads=1))
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
