"""A deployment with real worker processes, for tests that break parts of it."""

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import redis
from numpy.typing import NDArray

from fornada import keys
from fornada.coordination.redis import RedisCoordination
from fornada.jobs.store import JobStore
from fornada.local.children import Children
from fornada.local.stack import Stack
from fornada.local.valkey import start_valkey
from fornada.queue.celery_queue import CelerySender
from fornada.queue.interface import Sender
from fornada.queue.message import ShardMessage
from fornada.storage.s3.store import S3ObjectStore
from fornada.tensors import ImagePreprocessing
from model_store.safety.trust import Trust
from model_store.store import ModelStore
from producer.client import Client
from producer.job import Job

from ...deployment import TinyModel, own_environ
from .checker import OutcomeHistory, check_job
from .processes import left_of, lives

WORKERS = 3
#: More than any test's kills: no shard ends dead.
MAX_ATTEMPTS = 50
ITEM_SHAPE = [8, 8]
ITEMS_PER_SHARD = 8
_TILE_ITEMS = 16
#: A job takes seconds, longer on a busy machine.
END_WITHIN_S = 120.0
#: A killed worker imports TensorFlow again, after the supervisor's pause.
STARTED_WITHIN_S = 90.0

Images = NDArray[np.uint8]
Predict = Callable[[Images], NDArray[np.float32]]

ENVIRON = {
    "FORNADA_LEASE_S": "2",
    "FORNADA_RECONCILE_INTERVAL_S": "1",
    "FORNADA_REQUEUE_AFTER_S": "2",
    "FORNADA_MAX_ATTEMPTS": str(MAX_ATTEMPTS),
    "FORNADA_MAX_BATCH_SIZE": str(_TILE_ITEMS),
    "FORNADA_ITEMS_PER_SHARD": str(ITEMS_PER_SHARD),
    # Few enough that no worker takes all messages.
    "FORNADA_WORKER_THREADS": "4",
}


class Deployment:
    """Servers, three worker processes, a published model, and its undisturbed predictions."""

    def __init__(self, stack: Stack, *, restarted: Children) -> None:
        self.stack = stack
        self.settings = stack.settings
        self.objects = S3ObjectStore.from_settings(self.settings)
        self.jobs = JobStore(objects=self.objects)
        self.redis: Any = redis.Redis.from_url(
            self.settings.redis_url.get_secret_value(), decode_responses=True
        )
        self.coordination = RedisCoordination.from_settings(self.settings)
        self._restarted = restarted
        #: Predictions of `m`, the model of most tests.
        self.predict = self.publish("m", seed=7)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a command on this deployment."""
        return {**ENVIRON, **self.stack.environ}

    @property
    def queue(self) -> str:
        """The Redis list that workers take from."""
        return self.settings.queue

    def images(self, items: int) -> Images:
        """uint8 [items, height, width], no two alike."""
        return np.random.default_rng(items).integers(0, 256, (items, *ITEM_SHAPE), np.uint8)

    def client(self, sender: Sender | None = None, *, max_attempts: int = MAX_ATTEMPTS) -> Client:
        """A client that enqueues through `sender`."""
        return Client(
            objects=self.objects,
            coordination=self.coordination,
            sender=sender or CelerySender.from_settings(self.settings),
            settings=self.settings.model_copy(update={"max_attempts": max_attempts}),
        )

    def submit(
        self, shards: int, *, sender: Sender | None = None, job_id: str | None = None
    ) -> Job:
        """Submit a job of `shards` shards."""
        images = self.images(shards * ITEMS_PER_SHARD)
        return self.client(sender).submit(images, model="m:1", idempotency_key=job_id)

    def submit_held(self, shards: int) -> Job:
        """Submit a job while workers are stopped: fast workers could end it before this returns."""
        with self.held():
            return self.submit(shards)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Stop the workers (SIGSTOP) in the block, for less time than their supervisor allows."""
        pids = self.worker_pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            self.go_on(pids)

    def go_on(self, pids: Iterable[int]) -> None:
        """Continue those of the stopped processes that still live."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def submit_small(self, jobs: int, *, sender: Sender | None = None) -> list[tuple[Job, Images]]:
        """Submit small jobs, whose ids are digests of their content; each with its images."""
        images = np.split(self.images(jobs * ITEMS_PER_SHARD), jobs)
        return list(zip(self.client(sender).submit_many(images, model="m:1"), images, strict=True))

    def done_count(self, job: Job) -> int:
        """The number of shards with an outcome."""
        return len(self.jobs.outcome_shards(job.id))

    def final_bytes(self, job: Job) -> bytes:
        """The job's final record, as stored."""
        return self.objects.get(keys.JobKeys(job.id).final).data

    def check(self, job: Job, *, images: Images | None = None) -> None:
        """Check every invariant of an ended job, and the bytes of each item."""
        if images is None:
            images = self.images(job.manifest.item_count)
        expected = self.predict(images)
        check_job(self.objects, job.id, expected_probabilities=expected, max_attempts=MAX_ATTEMPTS)

    def check_undisturbed(
        self, job: Job, history: OutcomeHistory, *, images: Images | None = None
    ) -> None:
        """Wait for SUCCEEDED; check that nothing committed ever changed, and every invariant."""
        status = job.wait(timeout_s=END_WITHIN_S)
        history.observe(job.id)
        assert "SUCCEEDED" == status.state, status
        history.check()
        self.check(job, images=images)

    def wait_until_ready(self, wait_until: Callable[..., None]) -> None:
        """Wait until all workers consume and one of them leads."""
        wait_until(lambda: len(self.worker_pids()) == WORKERS, timeout_s=STARTED_WITHIN_S)
        # A worker that lost its connection reconnects late.
        wait_until(lambda: self.waiting_count() == WORKERS, timeout_s=STARTED_WITHIN_S)
        wait_until(lambda: self.leader_pid() is not None, timeout_s=STARTED_WITHIN_S)

    def worker_log(self) -> str:
        """The log of the workers and their supervisor."""
        return (self.stack.logs_dir / "workers.log").read_text(errors="replace")

    def worker_pids(self) -> set[int]:
        """Live worker processes."""
        signs = (self.stack.data_dir / "cache" / "workers").glob("*.json")
        return {pid for sign in signs if lives(pid := int(sign.stem.rpartition("-")[2]))}

    def waiting_count(self) -> int:
        """Connections blocked in BRPOP, waiting for a message."""
        return sum(
            client["cmd"] == "brpop" and "b" in client["flags"]
            for client in self.redis.client_list()
        )

    def is_idle(self) -> bool:
        """Whether no message waits in the queue or is held by a worker."""
        return not self.redis.llen(self.queue) and not self.redis.hlen("fornada:unacked")

    def leader_pid(self) -> int | None:
        """The live worker whose reconciler leads, if any."""
        leader = self.coordination.leader()
        pid = int(leader.holder.rpartition("-")[2]) if leader else 0
        return pid if pid in self.worker_pids() else None

    def kill_valkey(self) -> int:
        """Kill Valkey (SIGKILL); return its process id."""
        pid = int(self.redis.info("server")["process_id"])
        os.kill(pid, signal.SIGKILL)
        return pid

    def start_valkey(self, *, keep_data: bool) -> None:
        """Start Valkey again on the same port, with its data or empty."""
        url = urlsplit(self.settings.redis_url.get_secret_value())
        assert url.port is not None
        assert url.password is not None
        data_dir = self.stack.data_dir / "valkey"
        if not keep_data:
            shutil.rmtree(data_dir)
        start_valkey(
            port=url.port,
            password=url.password,
            data_dir=data_dir,
            log_path=self.stack.logs_dir / "valkey-restarted.log",
            children=self._restarted,
        )

    def publish(self, name: str, *, seed: int, image: ImagePreprocessing | None = None) -> Predict:
        """Publish a new model; return its predict: uint8 [items, …] -> float32 [items, 3]."""
        model = TinyModel.build(seed=seed, item_shape=ITEM_SHAPE, tile_items=_TILE_ITEMS)
        trust = Trust.from_settings(self.settings)
        model.publish(ModelStore(objects=self.objects, trust=trust), name, image=image)
        return model.predict


class SenderBy:
    """A `Sender` that passes the messages to a function."""

    def __init__(self, enqueue: Callable[[list[ShardMessage]], None]) -> None:
        self._enqueue = enqueue

    def enqueue(
        self,
        messages: Iterable[ShardMessage],
        *,
        together: int = 1,
        traces: Mapping[str, str] | None = None,
    ) -> None:
        """Pass them on."""
        self._enqueue(list(messages))


@contextlib.contextmanager
def deployed(
    folder: Path, *, environ: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Deployment]:
    """A deployment; checks that all its processes and our threads are gone afterwards.

    Args:
        folder: Holds all data; the embedded stack is in `stack`.
        environ: Additions to the workers' environment.
    """
    threads = set(threading.enumerate())
    # Left last: workers end in order only while their broker runs.
    with contextlib.ExitStack() as left_last:
        restarted = left_last.enter_context(
            Children(record_path=folder / "restarted.json", signs_dir=folder / "no-workers")
        )
        with Stack(
            data_dir=folder / "stack",
            workers=WORKERS,
            environ={**own_environ(), **ENVIRON, **environ},
        ) as stack:
            deployment = Deployment(stack, restarted=restarted)
            yield deployment
            deployment.redis.close()
    assert {} == left_of(folder)
    # One that listened to Redis ends when it finds Redis gone.
    for thread in set(threading.enumerate()) - threads:
        thread.join(20)
    assert [] == [thread.name for thread in threading.enumerate() if thread not in threads]


@contextlib.contextmanager
def repeatedly(act: Callable[[], object], *, interval_s: float) -> Iterator[None]:
    """Call `act` every `interval_s` in another thread, for the length of the block."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(interval_s):
            act()

    thread = threading.Thread(target=run, name="nemesis", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
