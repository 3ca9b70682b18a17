"""The bytes that Fornada moves from the store for photographs; counted by a proxy, not timed."""

import os
import sys
from pathlib import Path

from benchmarks.contenders import fornada_worker, photo_jobs
from benchmarks.contract import BUCKET, Done, Harness, Task
from benchmarks.measuring.s3_counter import S3Counter
from benchmarks.photos.workloads import folder_of


def main() -> None:
    """Serve the harness."""
    engine = sys.argv[1]
    harness = Harness()
    with S3Counter(os.environ["FORNADA_S3_ENDPOINT_URL"]) as counter:
        # Read by the worker and the client.
        os.environ["FORNADA_S3_ENDPOINT_URL"] = counter.url
        with fornada_worker.worker() as worker, fornada_worker.client() as client:

            def run(task: Task) -> Done:
                before = counter.sent_bytes[BUCKET]
                done = photo_jobs.run_job(task, client=client)
                moved_bytes = counter.sent_bytes[BUCKET] - before
                done.figures["moved"] = moved_bytes / _file_bytes(harness.folder, task)
                return done

            harness.serve(
                run,
                service_pid=worker.pid,
                notes=f"engine {engine}, through a proxy that counts bytes",
            )


def _file_bytes(folder: Path, task: Task) -> int:
    """What the task's objects have."""
    files = folder / folder_of(task.workload)
    return sum((files / key.rpartition("/")[2]).stat().st_size for key in task.keys)


if __name__ == "__main__":
    main()
