"""Feed JAX on the CPU as a device of its own, for `test_jax_feeding`; JSON on stdout."""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np

from fornada.errors import PredictionError
from fornada.formats.rows import Rows
from fornada.tensors import InputTensor, OutputTensor
from model_store.engines.jax import feeding
from model_store.engines.jax.devices import device_here, set_up_to_predict
from model_store.engines.jax.predict import compile_predict
from model_store.engines.keras_setup import import_keras
from worker.compute.batcher import Batcher

_TILE, _PART = 64, 8
_CALLERS = 12
#: Calls in flight before the first of them goes on.
_TOGETHER = 3


def main() -> None:
    """Print all answers."""
    jax = set_up_to_predict()
    json.dump(
        {
            "bytes": _bytes_of_callers(),
            "identity": _identity(),
            "rows": _rows_transferred(),
            "indices": _indices(),
            "errors": _errors(jax),
            "parts": [
                feeding.part_items_of(rows, [InputTensor(name="i", dtype="uint8", shape=[28, 28])])
                for rows in (65_536, 40_000, 4096, 1)
            ],
        },
        sys.stdout,
    )


def _dense() -> Any:
    keras = import_keras("jax")
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((12,)), layers.Dense(32, activation="relu"), layers.Dense(3)]
    )


def _compiled(
    model: Any, *, width: int = 3, dtype: Any = "float32", part: int | None = _PART
) -> Any:
    return compile_predict(
        model,
        tile_items=_TILE,
        takes=[InputTensor(name="items", dtype=dtype, shape=list(model.input_shape[1:]))],
        gives=[OutputTensor(name="outputs", shape=[3], kind="values")],
        part_items=part,
    )


def _bytes_of_callers() -> bool:
    """Whether callers of a batcher get the bytes of whole tiles, `_TOGETHER` calls at a time."""
    model = _dense()
    fed, whole = _compiled(model), _compiled(model, part=None)
    barrier, begun = threading.Barrier(_TOGETHER), iter(range(_TOGETHER))

    def predict(tile: Rows) -> Rows:
        if next(begun, None) is not None:
            barrier.wait(60)
        return fed(tile)

    batcher = Batcher(
        SimpleNamespace(
            streams=3,
            calls_ahead=1,
            part_items=_PART,
            rows_for=lambda _shapes: _TILE,
            predict_tile=predict,
        ),
        takes=[InputTensor(name="items", dtype="float32", shape=[12])],
        gives=[OutputTensor(name="outputs", shape=[3], kind="values")],
        max_latency_s=0.0,
    )
    rng = np.random.default_rng(2)
    asked = [rng.random((count, 12), np.float32) for count in range(20, 20 + 7 * _CALLERS, 7)]
    with ThreadPoolExecutor(_CALLERS) as pool:
        found = list(pool.map(lambda rows: batcher.predict(Rows(rows)).outputs, asked))
    batcher.close()
    expected = [
        np.concatenate(
            [
                whole(Rows(rows[n : n + _TILE]).padded(_TILE)).only[: len(rows) - n]
                for n in range(0, len(rows), _TILE)
            ]
        )
        for rows in asked
    ]
    return all(
        outputs is not None and outputs.only.tobytes() == rows.tobytes()
        for outputs, rows in zip(found, expected, strict=True)
    )


def _identity() -> bool:
    """Whether outputs of a model that gives its input stay when its memory is filled anew."""
    keras = import_keras("jax")
    items = keras.Input((3,))
    predict = _compiled(keras.Model(items, keras.layers.Identity()(items)))
    rows = np.ones((2 * _PART, 3), np.float32)
    outputs = predict(Rows(rows)).only
    rows[:] = 2
    return bool((outputs == 1).all())


def _rows_transferred() -> list[int]:
    """Rows that calls of 8, 16 and 64 rows transfer."""
    predict = _compiled(_dense())
    counts = []
    put = feeding.Feed._transferred
    for count in (_PART, 2 * _PART, _TILE):
        seen: list[int] = []
        feeding.Feed._transferred = lambda self, parts, seen=seen: (
            seen.extend(map(len, parts)) or put(self, parts)
        )
        predict(Rows(np.zeros((count, 12), np.float32)))
        counts.append(sum(seen))
    feeding.Feed._transferred = put
    return counts


def _indices() -> str:
    """What a call with an index outside of its table fails with."""
    keras = import_keras("jax")
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((4,), dtype="int32"), layers.Embedding(10, 3), layers.GlobalMaxPooling1D()]
    )
    predict = _compiled(model, dtype="int32")
    try:
        predict(Rows(np.full((_PART, 4), 99, np.int32)))
    except PredictionError as exc:
        return str(exc.__cause__)
    return "nothing"


def _errors(jax: Any) -> list[str]:
    """What errors of JAX become: out of memory, of one call, and of a device that is lost."""
    device, put = device_here(), jax.device_put
    found = [
        _raised(jax, device, "RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"),
        _raised(jax, device, "INTERNAL: one call"),
    ]

    def fail(*_: Any) -> None:
        raise jax.errors.JaxRuntimeError("INTERNAL: CUDA_ERROR_ILLEGAL_ADDRESS")

    jax.device_put = fail
    found.append(_raised(jax, device, "INTERNAL: CUDA_ERROR_ILLEGAL_ADDRESS"))
    jax.device_put = put
    return found


def _raised(jax: Any, device: Any, text: str) -> str:
    try:
        with feeding.device_errors(device):
            raise jax.errors.JaxRuntimeError(text)
    except RuntimeError as exc:
        return type(exc).__name__


if __name__ == "__main__":
    main()
