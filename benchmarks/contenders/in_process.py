"""The in-process limit of an engine: arrays in RAM, the best batch size, nothing else running."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import contract
from benchmarks.contract import Done, Harness, Task
from benchmarks.workloads import MODELS

_BATCH_SIZES = (64, 256, 1024, 4096)
#: Of items as large as photographs.
_LARGE_ITEM_BYTES = 64 * 1024
_LARGE_BATCH_SIZES = (4, 16, 64)
#: The trial of each batch size, before the clock starts.
_TRIAL_S = 0.5

Predict = Callable[[NDArray[Any]], NDArray[np.float32]]


def main() -> None:
    """Serve the harness."""
    harness = Harness()
    engine = sys.argv[1]
    compile_model = {"keras": _keras, "openvino": _openvino}[engine]
    images: dict[str, NDArray[Any]] = {}
    best: dict[str, tuple[int, Predict]] = {}

    def run(task: Task) -> Done:
        model = MODELS[task.workload]
        if model not in best:
            images[model] = harness.images(model)
            best[model] = _fastest(compile_model(harness, model), images[model])
        batch_size, predict = best[model]
        rows = images[model]
        outputs = _predict_all(predict, rows, batch_size)
        finished_at = contract.now()
        np.save(task.answers_path, outputs)
        return Done(
            items=len(rows),
            finished_at=finished_at,
            answers="file",
            figures={"batch_size": batch_size},
        )

    package = "tensorflow-cpu" if engine == "keras" else "openvino"
    sizes, large = (", ".join(map(str, each)) for each in (_BATCH_SIZES, _LARGE_BATCH_SIZES))
    notes = f"float32; the best batch of {sizes}; of photographs {large}"
    harness.serve(run, packages=["keras", package], notes=notes)


def _predict_all(predict: Predict, rows: NDArray[Any], batch_size: int) -> NDArray[np.float32]:
    firsts = range(0, len(rows), batch_size)
    return np.concatenate([predict(rows[first : first + batch_size]) for first in firsts])


def _fastest(predict: Predict, rows: NDArray[Any]) -> tuple[int, Predict]:
    """The batch size with the highest warm throughput, and the predict function."""
    rates = {}
    is_large = rows[0].nbytes >= _LARGE_ITEM_BYTES
    for batch_size in _LARGE_BATCH_SIZES if is_large else _BATCH_SIZES:
        batch = rows[:batch_size]
        predict(batch)
        started_at, items = contract.now(), 0
        while contract.now() - started_at < _TRIAL_S:
            predict(batch)
            items += len(batch)
        rates[batch_size] = items / (contract.now() - started_at)
    return max(rates, key=rates.__getitem__), predict


def _keras(harness: Harness, model_name: str) -> Predict:
    model = contract.load_model(harness.folder / f"{model_name}.keras")
    import keras  # noqa: PLC0415 - seconds
    import tensorflow as tf  # noqa: PLC0415 - the other engine runs without

    weights = [(weight, weight.numpy()) for weight in model.weights]

    def forward(rows: Any) -> Any:
        # Constants are faster, and what Fornada uses.
        with keras.StatelessScope(weights):
            return model(rows, training=False)

    signature = tf.TensorSpec([None, *model.input_shape[1:]], model.inputs[0].dtype)
    compiled = tf.function(forward, input_signature=[signature], autograph=False)
    return lambda rows: np.asarray(compiled(tf.constant(rows)))


def _openvino(harness: Harness, model_name: str) -> Predict:
    import openvino  # noqa: PLC0415 - the other engine runs without

    model = contract.load_model(harness.folder / f"{model_name}.keras")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        model.export(str(path), format="openvino", verbose=False)
        core = openvino.Core()
        # On CPUs with AMX the default is bfloat16, whose outputs differ by 3e-3.
        precision = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        compiled: Any = core.compile_model(core.read_model(path), "CPU", precision)
    return lambda rows: np.array(compiled(rows)[0])


if __name__ == "__main__":
    main()
