"""The usual Celery template: pixels as JSON floats through Redis, `model.predict` in a task."""

import os
from collections import deque
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import celery
import numpy as np
from numpy.typing import NDArray

from benchmarks import contract
from benchmarks.contract import Done, Harness, Task

_IMAGES_PER_TASK = 100
_TASKS_IN_FLIGHT = 64
_PROCESSES = 2
_TIMEOUT_S = 120

app = celery.Celery("template")
# Fornada uses database 0.
_SERVER = os.environ.get("BENCH_REDIS_SERVER", "redis://127.0.0.1:6379")
app.conf.update(broker_url=f"{_SERVER}/1", result_backend=f"{_SERVER}/2")


@cache
def _model() -> Any:
    # In the forked process of the pool: TensorFlow hangs if it starts before a fork.
    return contract.load_model(Path(os.environ["BENCH_FOLDER"], "mlp.keras"))


@app.task(name="classify")  # type: ignore[untyped-decorator]  # celery has no types
def classify(images: list[list[list[float]]]) -> list[list[float]]:
    """Pixels [items, 28, 28] → probabilities [items, classes]."""
    probabilities: NDArray[np.float32] = _model().predict(np.array(images), verbose=0)
    return [[float(value) for value in row] for row in probabilities]


def _classify_all(parts: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
    """One task per part, `_TASKS_IN_FLIGHT` at a time."""
    answers: list[NDArray[np.float32]] = []
    under_way: deque[Any] = deque()
    for part in parts:
        # From one thread: Celery sometimes loses results from Redis when several threads wait.
        if len(under_way) == _TASKS_IN_FLIGHT:
            answers.append(np.array(under_way.popleft().get(timeout=_TIMEOUT_S), np.float32))
        under_way.append(classify.delay(part.astype(float).tolist()))
    answers += [np.array(result.get(timeout=_TIMEOUT_S), np.float32) for result in under_way]
    return answers


def _run_objects(task: Task) -> Done:
    s3, items = contract.s3_client(), 0
    for key in task.keys:
        images = contract.from_npy(contract.get_bytes(s3, key))
        parts = np.split(images, range(_IMAGES_PER_TASK, len(images), _IMAGES_PER_TASK))
        probabilities = np.concatenate(_classify_all(parts))
        contract.put_bytes(s3, contract.output_key(task, key), contract.to_npy(probabilities))
        items += len(images)
    return Done(items=items, finished_at=contract.now())


def _run_images(images: NDArray[np.uint8], task: Task) -> Done:
    answers = _classify_all(np.split(images[: task.count], task.count))
    finished_at = contract.now()
    np.save(task.answers_path, np.concatenate(answers))
    return Done(items=len(answers), finished_at=finished_at, answers="file")


def main() -> None:
    """Serve the harness."""
    harness = Harness()
    images = harness.images("mlp")
    options = ["--pool", "prefork", "--concurrency", str(_PROCESSES), "--loglevel", "WARNING"]
    command = ["-m", "celery", "--app", "benchmarks.contenders.celery_template", "worker"]

    def run(task: Task) -> Done:
        if task.workload == "predict":
            return _run_images(images, task)
        return _run_objects(task)

    with contract.child([*command, *options]) as worker:
        harness.serve(
            run,
            packages=["celery", "keras", "tensorflow-cpu"],
            service_pid=worker.pid,
            notes=(
                f"prefork {_PROCESSES}, {_IMAGES_PER_TASK} images a task (one in `predict`), "
                f"{_TASKS_IN_FLIGHT} tasks in flight, model.predict with its default batch of 32"
            ),
        )


if __name__ == "__main__":
    main()
