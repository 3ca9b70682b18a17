"""The fixed cost of a shard: one-item shards of a model that computes almost nothing."""

import os
import sys

import numpy as np

from benchmarks.contenders import fornada_worker
from benchmarks.contract import Done, Harness, Task
from fornada.jobs.store import JobStore
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore

_MODEL = "empty"


def main() -> None:
    """Serve the harness."""
    engine = sys.argv[1]
    harness = Harness()
    with fornada_worker.worker() as worker:
        settings = Settings.from_env(os.environ)
        client = fornada_worker.client()
        store = JobStore(objects=S3ObjectStore.from_settings(settings))

        def run(task: Task) -> Done:
            images = harness.images(_MODEL)[: task.count]
            job = client.submit(images, model=_MODEL, items_per_shard=1)
            statuses = fornada_worker.wait([job])
            outcomes = [store.outcome(job.id, shard) for shard in range(task.count)]
            ends = sorted(o.committed_at.timestamp() for o in outcomes if o is not None)
            # With one thread, the time between two commits is one shard with its message and its
            # acknowledgement.
            gaps_ms = np.diff(ends) * 1000 if task.count > 1 else np.zeros(1)
            figures = {"shard_ms": float(np.median(gaps_ms)), "mean_ms": float(np.mean(gaps_ms))}
            np.save(task.answers_path, job.results().probabilities)
            return Done(
                items=task.count,
                finished_at=fornada_worker.last_outcome_at(statuses),
                answers="file",
                figures=figures,
            )

        harness.serve(
            run,
            packages=fornada_worker.PACKAGES,
            service_pid=worker.pid,
            notes=(
                f"engine {engine}, one worker process, FORNADA_WORKER_THREADS="
                f"{settings.worker_threads}, FORNADA_MAX_BATCH_SIZE={settings.max_batch_size}: a "
                "tile of one row is full at once, and no shard waits for another's"
            ),
        )


if __name__ == "__main__":
    main()
