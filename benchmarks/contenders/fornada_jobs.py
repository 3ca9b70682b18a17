"""Fornada with one worker process and default settings: jobs, small jobs, and predict."""

import asyncio
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from os.path import commonpath

import numpy as np
from numpy.typing import NDArray

from benchmarks import contract
from benchmarks.contenders import fornada_worker
from benchmarks.contenders.fornada_worker import TIMEOUT_S, Worker
from benchmarks.contract import BUCKET, Done, Harness, Task
from producer import AsyncClient, Client, StoredImages

_CALLERS = 64
_READING_THREADS = 8
#: One in ten small jobs is read back and compared; all must have succeeded.
_READ_EVERY = 10
_SMALL_MODEL = "mlp"
#: What an engine computes with.
_PACKAGES = {"keras": "tensorflow-cpu", "openvino": "openvino", "jax": "jax"}


def main() -> None:
    """Serve the harness."""
    engine = sys.argv[1]
    harness = Harness()
    with fornada_worker.worker() as worker:
        runs = _Runs(harness, fornada_worker.client(), worker)
        harness.serve(
            runs.run,
            packages=[*fornada_worker.PACKAGES, _PACKAGES[engine]],
            service_pid=worker.pid,
            notes=f"engine {engine}, one worker process, default settings",
        )


class _Runs:
    """The workloads, each through its entry point."""

    def __init__(self, harness: Harness, client: Client, worker: Worker) -> None:
        self._client = client
        self._calls = AsyncClient(client)
        self._worker = worker
        self._images: NDArray[np.uint8] = harness.images(_SMALL_MODEL)
        self._by_workload: dict[str, Callable[[Task], Done]] = {
            **dict.fromkeys(("mlp", "cnn", "resnet", "table"), self._objects),
            "predict": self._predict,
            "submit": self._submit,
        }

    def run(self, task: Task) -> Done:
        return self._by_workload[task.workload](task)

    def _objects(self, task: Task) -> Done:
        """A job over objects in the store."""
        stored = StoredImages(bucket=BUCKET, prefix=commonpath(task.keys))
        id_column = contract.KEY_COLUMN if task.workload == "table" else None
        job = self._client.submit(stored, model=task.workload, id_column=id_column)
        statuses = fornada_worker.wait([job])
        finished_at = fornada_worker.last_outcome_at(statuses)
        np.save(task.answers_path, job.results().probabilities)
        return Done(
            items=statuses[0].items,
            finished_at=finished_at,
            answers="file",
            figures={"since_worker_start_s": finished_at - self._worker.started_at},
        )

    def _predict(self, task: Task) -> Done:
        """One call per image, `_CALLERS` in flight from one event loop; nothing is stored."""
        answers, latencies_s = asyncio.run(self._call_all(task.count))
        finished_at = contract.now()
        np.save(task.answers_path, np.concatenate(answers))
        return Done(
            items=len(answers),
            finished_at=finished_at,
            answers="file",
            figures=contract.latency_figures(latencies_s),
        )

    async def _call_all(self, count: int) -> tuple[list[NDArray[np.float32]], list[float]]:
        """The answers, and how long each call took, in seconds."""
        answers, latencies_s = [np.empty((0, 0), np.float32)] * count, [0.0] * count
        numbers = iter(range(count))

        async def caller() -> None:
            for number in numbers:
                image, began_s = self._images[number : number + 1], time.perf_counter()
                answer = await self._calls.predict(image, model=_SMALL_MODEL, timeout_s=TIMEOUT_S)
                answers[number] = np.asarray(answer)
                latencies_s[number] = time.perf_counter() - began_s

        await asyncio.gather(*(caller() for _ in range(_CALLERS)))
        return answers, latencies_s

    def _submit(self, task: Task) -> Done:
        """One durable job per image, from this process."""
        images = [self._images[i : i + 1] for i in range(task.count)]
        jobs = self._client.submit_many(images, model=_SMALL_MODEL)
        # The last one first: polling each while they run would slow what is measured.
        fornada_worker.wait(jobs[-1:])
        with ThreadPoolExecutor(_READING_THREADS) as pool:
            statuses = list(pool.map(lambda job: fornada_worker.wait([job])[0], jobs))
            read = pool.map(lambda job: job.results().probabilities, jobs[::_READ_EVERY])
            np.save(task.answers_path, np.concatenate(list(read)))
        return Done(
            items=len(statuses),
            finished_at=fornada_worker.last_outcome_at(statuses),
            answers="file",
            answers_step=_READ_EVERY,
        )


if __name__ == "__main__":
    main()
