"""The in-process limit of an engine: arrays in RAM, the best batch size, nothing else running."""

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import contract
from benchmarks.contract import Done, Harness, Task
from benchmarks.workloads import WORKLOADS

_BATCH_SIZES = (64, 256, 1024, 4096)
#: Of items as large as photographs.
_LARGE_ITEM_BYTES = 64 * 1024
_LARGE_BATCH_SIZES = (4, 16, 64)
#: The trial of each batch size, before the clock starts.
_TRIAL_S = 0.3

#: An array [items, …] for each input of the model.
Rows = Sequence[NDArray[Any]]
Predict = Callable[[Rows], NDArray[np.float32]]


def main() -> None:
    """Serve the harness."""
    harness = Harness()
    engine = sys.argv[1]
    compile_model, package = _ENGINES[engine]
    if engine == "jax":
        os.environ["KERAS_BACKEND"] = "jax"
    rows: dict[str, Rows] = {}
    best: dict[str, tuple[int, Predict]] = {}

    def run(task: Task) -> Done:
        name = WORKLOADS[task.workload].model
        if name not in best:
            model = contract.load_model(harness.folder / f"{name}.keras")
            rows[name] = _rows(harness, name, model)
            best[name] = _fastest(compile_model(model), rows[name])
        batch_size, predict = best[name]
        outputs = _predict_all(predict, rows[name], batch_size)
        finished_at = contract.now()
        np.save(task.answers_path, outputs)
        return Done(
            items=len(outputs),
            finished_at=finished_at,
            answers="file",
            figures={"batch_size": batch_size},
        )

    sizes, large = (", ".join(map(str, each)) for each in (_BATCH_SIZES, _LARGE_BATCH_SIZES))
    notes = f"float32; the best batch of {sizes}; of photographs {large}"
    harness.serve(run, packages=["keras", package], notes=notes)


def _rows(harness: Harness, name: str, model: Any) -> Rows:
    if len(model.inputs) == 1:
        return [harness.images(name)]
    columns = harness.columns(name)
    return [columns[taken.name] for taken in model.inputs]


def _predict_all(predict: Predict, rows: Rows, batch_size: int) -> NDArray[np.float32]:
    firsts = range(0, len(rows[0]), batch_size)
    return np.concatenate([predict(_part(rows, first, batch_size)) for first in firsts])


def _part(rows: Rows, first: int, count: int) -> Rows:
    return [array[first : first + count] for array in rows]


def _fastest(predict: Predict, rows: Rows) -> tuple[int, Predict]:
    """The batch size with the highest warm throughput, and the predict function."""
    rates = {}
    is_large = rows[0][0].nbytes >= _LARGE_ITEM_BYTES
    for batch_size in _LARGE_BATCH_SIZES if is_large else _BATCH_SIZES:
        batch = _part(rows, 0, batch_size)
        predict(batch)
        started_at, items = contract.now(), 0
        while contract.now() - started_at < _TRIAL_S:
            predict(batch)
            items += len(batch[0])
        rates[batch_size] = items / (contract.now() - started_at)
    return max(rates, key=rates.__getitem__), predict


def _keras(model: Any) -> Predict:
    import keras  # noqa: PLC0415 - seconds
    import tensorflow as tf  # noqa: PLC0415 - the other engines run without

    weights = [(weight, weight.numpy()) for weight in model.weights]

    def forward(rows: Any) -> Any:
        # Constants are faster, and what Fornada uses.
        with keras.StatelessScope(weights):
            return model(rows, training=False)

    signature = [tf.TensorSpec([None, *one.shape[1:]], one.dtype) for one in model.inputs]
    compiled = tf.function(forward, input_signature=[signature], autograph=False)
    return lambda rows: np.asarray(compiled([tf.constant(array) for array in rows]))


def _openvino(model: Any) -> Predict:
    import openvino  # noqa: PLC0415 - the other engines run without

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        model.export(str(path), format="openvino", verbose=False)
        core = openvino.Core()
        # On CPUs with AMX the default is bfloat16, whose outputs differ by 3e-3.
        precision = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        compiled: Any = core.compile_model(core.read_model(path), "CPU", precision)
    return lambda rows: np.array(compiled(list(rows))[0])


def _jax(model: Any) -> Predict:
    import jax  # noqa: PLC0415 - the other engines run without

    weights = [weight.value for weight in model.trainable_variables]
    others = [weight.value for weight in model.non_trainable_variables]
    compiled = jax.jit(lambda rows: model.stateless_call(weights, others, rows, training=False)[0])
    return lambda rows: np.asarray(compiled(list(rows)))


#: What compiles a model, and the package whose version matters.
_ENGINES = {
    "keras": (_keras, "tensorflow-cpu"),
    "openvino": (_openvino, "openvino"),
    "jax": (_jax, "jax"),
}


if __name__ == "__main__":
    main()
