"""The servers and a worker process, the objects, and what of them is timed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.gpu.workloads import Workload
from fornada.formats.npy import from_npy, to_npy
from fornada.jobs.store import JobStore
from fornada.local.stack import Stack
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from model_store.manifest import ModelDraft
from model_store.store import ModelStore
from model_store.testing import PASSED
from producer import Client, StoredImages

_BUCKET = "gpu"
_STORE_THREADS = (4, 16, 32)
_TIMEOUT_S = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class JobTimes:
    """A job of all objects."""

    #: From the first shard begun to the last outcome, and as its caller waited.
    computed_s: float
    waited_s: float
    tile_items: int | None
    engine: str


class Deployment:
    """A store, a Redis, and objects of images."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._folder = folder
        self._environ = {
            **stack.environ,
            "FORNADA_S3_BUCKET": _BUCKET,
            "FORNADA_CACHE_DIR": str(folder / "cache"),
            "FORNADA_LOG_LEVEL": "WARNING",
        }
        self.settings = Settings.from_env(self._environ)
        self._objects = S3ObjectStore.from_settings(self.settings)
        self._objects.create_bucket()

    def put(self, workload: Workload) -> None:
        """Store the images: the same noise in each object, changed by its number."""
        images = workload.images(workload.object_items)

        def put(number: int) -> None:
            self._objects.put(_key(workload, number), to_npy(images ^ np.uint8(number % 256)))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(put, range(workload.object_count)))
        # The store computes each ETag when it first lists the object.
        list(self._objects.list(_prefix(workload)))

    def publish(self, workload: Workload) -> None:
        """Publish the model that `in_process` wrote; this machine made it, so no wall tries it."""
        taken, given = workload.tensors
        ModelStore(objects=self._objects).publish(
            ModelDraft.of_one(taken, given, name=workload.name),
            artifact=self._folder / f"{workload.name}.keras",
            golden_inputs=np.load(self._folder / f"{workload.name}-golden-inputs.npy"),
            golden_outputs=np.load(self._folder / f"{workload.name}-golden-outputs.npy"),
            check=lambda _artifact: PASSED,
        )

    def store_path(self, workload: Workload) -> dict[int, float]:
        """Images a second by threads of one process that get, parse and put, without a model."""
        outputs = np.zeros((workload.object_items, workload.class_count), np.float32)

        def copy(number: int) -> None:
            from_npy(self._objects.get(_key(workload, number)).data, where="an object")
            self._objects.put(f"copied/{workload.name}/{number}", to_npy(outputs))

        rates = {}
        for threads in _STORE_THREADS:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(copy, range(min(threads, workload.object_count))))
                seconds = _timed(lambda: list(pool.map(copy, range(workload.object_count))))
            rates[threads] = workload.image_count / seconds
        return rates

    @contextmanager
    def worker(self, workload: Workload) -> Iterator[None]:
        """One worker process with default settings, which logs to a file."""
        command = [sys.executable, "-P", "-m", "fornada", "worker", "--processes", "1"]
        environ = {**os.environ, **self._environ, "FORNADA_ENGINE": workload.engine}
        with (self._folder / f"{workload.name}-worker.log").open("wb") as log:
            process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
            try:
                yield
            finally:
                process.terminate()
                process.wait()

    def job(self, workload: Workload, *, object_count: int | None = None) -> JobTimes:
        """Run a job of the objects, the first of them, or all.

        Raises:
            RuntimeError: It did not succeed; has the end of the worker's log.
        """
        digits = "" if object_count is None else "00000"
        stored = StoredImages(bucket=_BUCKET, prefix=f"{_prefix(workload)}{digits}")
        with Client.from_settings(self.settings) as client:
            began_s = time.monotonic()
            job = client.submit(stored, model=workload.name)
            status = job.wait(timeout_s=_TIMEOUT_S)
            waited_s = time.monotonic() - began_s
        if status.state != "SUCCEEDED":
            log = (self._folder / f"{workload.name}-worker.log").read_text(errors="replace")
            raise RuntimeError(f"the job ended {status.state}: {status.reason}\n{log[-4000:]}")
        jobs = JobStore(objects=self._objects)
        outcomes = [jobs.outcome(job.id, n) for n in range(len(job.manifest.shards))]
        found = [outcome for outcome in outcomes if outcome is not None]
        seconds = max(o.committed_at for o in found) - min(o.began_at for o in found)
        return JobTimes(
            computed_s=seconds.total_seconds(),
            waited_s=waited_s,
            tile_items=found[0].tile_items,
            engine=found[0].engine or "",
        )


@contextmanager
def deployed(folder: Path) -> Iterator[Deployment]:
    """A deployment on new servers."""
    environ = {name: v for name, v in os.environ.items() if not name.startswith("FORNADA_")}
    with Stack(data_dir=folder / "servers", environ=environ) as stack:
        yield Deployment(stack, folder)


def _prefix(workload: Workload) -> str:
    return f"inputs/{workload.name}/"


def _key(workload: Workload, number: int) -> str:
    return f"{_prefix(workload)}{number:06d}.npy"


def _timed(call: Callable[[], object]) -> float:
    began_s = time.monotonic()
    call()
    return time.monotonic() - began_s
