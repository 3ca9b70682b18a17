"""Fornada with one worker process and default settings: jobs over photographs in the store."""

import sys
from os.path import commonprefix

import numpy as np

from benchmarks.contenders import fornada_worker
from benchmarks.contract import BUCKET, Done, Harness, Task
from benchmarks.photos.workloads import MODELS
from producer import Client, StoredImages


def main() -> None:
    """Serve the harness."""
    engine = sys.argv[1]
    harness = Harness()
    with fornada_worker.worker() as worker, fornada_worker.client() as client:
        harness.serve(
            lambda task: run_job(task, client=client),
            packages=[*fornada_worker.PACKAGES, "simplejpeg", "pillow"],
            service_pid=worker.pid,
            notes=f"engine {engine}, one worker process, default settings",
        )


def run_job(task: Task, *, client: Client) -> Done:
    """One job over the task's objects."""
    job = client.submit(
        # Keys end in numbers: of 100 or all of them, no other has the prefix.
        StoredImages(bucket=BUCKET, prefix=commonprefix(task.keys)),  # noqa: RUF071 - of characters
        model=MODELS[task.workload],
        id_column="name" if task.workload == "photos-parquet" else None,
    )
    statuses = fornada_worker.wait([job])
    np.save(task.answers_path, job.results().probabilities)
    return Done(
        items=statuses[0].items,
        finished_at=fornada_worker.last_outcome_at(statuses),
        answers="file",
    )


if __name__ == "__main__":
    main()
