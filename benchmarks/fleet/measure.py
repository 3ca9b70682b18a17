"""Measures `Costs` on this machine, with the engine for tests: no framework, no prediction."""

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path

import numpy as np
import redis
from numpy.typing import NDArray

from benchmarks.fleet.costs import Costs
from benchmarks.measuring import process_tree
from fornada.coordination.redis import RedisCoordination
from fornada.coordination.worker_board.interface import WorkerReport
from fornada.formats.npy import to_npy
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_inputs import ShardInput, Shards
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.jobs.upkeep.reconciler import Reconciler
from fornada.local.stack import Stack
from fornada.queue.celery_queue import CelerySender
from fornada.queue.memory import RecordingSender
from fornada.queue.message import ShardMessage
from fornada.records import ObjectRef, now, sha256_hex
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from model_store.store import ModelStore
from model_store.testing import publish_for_test
from producer import Client

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_ITEM_SHAPE = [8, 8]
_START_S = 300.0
_SETTLED_S = 3.0
_IDLE_S = 15.0
_CONNECTIONS, _COMMANDS = 16, 2000
_FEW, _MANY = 100, 500
_MESSAGES = 5000
_OPEN_SHARDS = 100_000
_ROUNDS = 10
_PAGE = 1000
_WORKERS = 1000
_REPEATS = 5


def measure(folder: Path) -> Costs:
    """The costs, in about two minutes; servers and workers keep their files in `folder`."""
    environ = {name: v for name, v in os.environ.items() if not name.startswith("FORNADA_")}
    with (
        process_tree.orphans_adopted(),
        Stack(data_dir=folder, environ={**environ, "FORNADA_ENGINE": "test"}) as stack,
    ):
        meters = _Meters(stack)
        return Costs(
            **_idle(stack, meters),
            **_shard(stack, meters),
            **_message(stack, meters),
            **_round(stack, meters),
            **_page(stack, meters),
            **_board(stack, meters),
        )


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """CPU seconds and commands so far."""

    redis_s: float
    commands: float
    store_s: float
    own_s: float
    workers_s: float

    def __sub__(self, other: "_Reading") -> "_Reading":
        return _Reading(
            **{name: value - getattr(other, name) for name, value in vars(self).items()}
        )


class _Meters:
    """What the servers and processes below us have used."""

    def __init__(self, stack: Stack) -> None:
        self._redis = redis.Redis.from_url(stack.settings.redis_url.get_secret_value())

    def read(self) -> _Reading:
        """Now."""
        info = self._redis.info("all")
        commands = sum(one["calls"] for name, one in info.items() if name.startswith("cmdstat_"))
        return _Reading(
            redis_s=info["used_cpu_user"] + info["used_cpu_sys"],
            commands=float(commands),
            store_s=_cpu_s(lambda command: "rclone" in command),
            own_s=time.process_time(),
            workers_s=_cpu_s(lambda command: "\0worker\0" in command),
        )

    def of(self, act: Callable[[], object]) -> _Reading:
        """What `act` uses."""
        before = self.read()
        act()
        return self.read() - before


def _cpu_s(is_it: Callable[[str], bool]) -> float:
    """CPU seconds of processes below us whose command line is meant."""
    total = 0
    for pid in process_tree.below(os.getpid()):
        with contextlib.suppress(OSError):
            if is_it(Path(f"/proc/{pid}/cmdline").read_text(errors="replace")):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
    return total / _CLOCK_TICKS


@contextlib.contextmanager
def workers(stack: Stack, count: int, **settings: str) -> Iterator[Client]:
    """A client beside `count` worker processes that are up."""
    command = [sys.executable, "-P", "-m", "fornada", "worker", "--processes", str(count)]
    environ = {**os.environ, **stack.environ, "FORNADA_ENGINE": "test", **settings}
    with (stack.data_dir / "fleet-workers.log").open("ab") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    client = Client.from_settings(Settings.from_env(environ))
    try:
        deadline_s = time.monotonic() + _START_S
        while len(client.workers()) < count:
            if time.monotonic() > deadline_s or process.poll() is not None:
                raise RuntimeError(f"{count} workers did not start; read {log.name}")
            time.sleep(0.1)
        yield client
    finally:
        process.terminate()
        process.wait()
        client.close()


def publish(stack: Stack, *, delay_s: float) -> str:
    """Publish a model whose calls take `delay_s`; return its name."""
    name = f"waits-{round(delay_s * 1000)}"
    publish_for_test(
        ModelStore.from_settings(stack.settings),
        name=name,
        item_shape=_ITEM_SHAPE,
        classes=["a", "b"],
        delay_s=delay_s,
    )
    return name


def items(count: int) -> NDArray[np.uint8]:
    """Items of a published model."""
    return np.zeros((count, *_ITEM_SHAPE), np.uint8)


def _idle(stack: Stack, meters: _Meters) -> dict[str, float]:
    spent = {}
    for count in (1, 4):
        with workers(stack, count):
            time.sleep(2 * _SETTLED_S)
            spent[count] = meters.of(lambda: time.sleep(_IDLE_S))
    commands = (spent[4].commands - spent[1].commands) / _IDLE_S / (4 - 1)
    # A server that is asked seldom takes longer for each command than one that is busy.
    return {
        "idle_redis_commands": commands,
        "idle_redis_s": commands * _command_redis_s(stack, meters),
    }


def _command_redis_s(stack: Stack, meters: _Meters) -> float:
    """What a simple command takes Redis while several connections ask at once."""
    url = stack.settings.redis_url.get_secret_value()

    def ask(_: int) -> None:
        with redis.Redis.from_url(url) as client:
            for _ in range(_COMMANDS):
                client.hmget("fornada:leader:nobody", "beat", "lease_ms")

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        spent = meters.of(lambda: list(pool.map(ask, range(_CONNECTIONS))))
    return spent.redis_s / _CONNECTIONS / _COMMANDS


def _shard(stack: Stack, meters: _Meters) -> dict[str, float]:
    model = publish(stack, delay_s=0.0)
    jobs = JobStore(objects=S3ObjectStore.from_settings(stack.settings))
    with workers(stack, 1, FORNADA_MAX_BATCH_SIZE="1") as client:

        def run(count: int) -> None:
            manifest = _prepared(client, model, count)
            client._creator.create_and_enqueue(manifest, new=True)  # noqa: SLF001 - inputs lie there
            client.job(manifest.job_id).wait(timeout_s=600)

        run(1)
        few, many = (meters.of(partial(run, count)) for count in (_FEW, _MANY))
        final = jobs.final(client.jobs(limit=1)[0].job_id)
    assert final is not None
    # As the worker does that ends the job.
    end = meters.of(lambda: jobs.check_outcomes(final))
    more, count = many - few, _MANY - _FEW
    return {
        "shard_redis_s": more.redis_s / count,
        "shard_redis_commands": more.commands / count,
        "shard_store_s": more.store_s / count,
        "shard_worker_s": more.workers_s / count,
        "end_worker_s": end.own_s / _MANY,
    }


def _prepared(client: Client, model: str, shard_count: int) -> JobManifest:
    """A job whose shards of one item all read the same object."""
    job = client.submit(items(1), model=model)
    data = to_npy(items(1))
    client._models.objects.put("inputs/one.npy", data)  # noqa: SLF001 - as the next
    item = ObjectRef(key="inputs/one.npy", size_bytes=len(data), sha256=sha256_hex(data))
    shards = Shards(repeat(ShardInput(objects=[item], item_count=1), shard_count))
    job_id = f"fleet-{uuid.uuid4().hex[:12]}"
    return job.manifest.model_copy(update={"job_id": job_id, "shards": shards})


def _message(stack: Stack, meters: _Meters) -> dict[str, float]:
    sender = CelerySender.from_settings(stack.settings.model_copy(update={"queue": "nobody"}))
    sender.enqueue([ShardMessage(job_id="none", shard=0)])
    spent = meters.of(
        lambda: sender.enqueue(ShardMessage(job_id="none", shard=n) for n in range(_MESSAGES))
    )
    return {
        "message_leader_s": spent.own_s / _MESSAGES,
        "message_redis_s": spent.redis_s / _MESSAGES,
    }


def _round(stack: Stack, meters: _Meters) -> dict[str, float]:
    settings = stack.settings.model_copy(update={"queue": "rounds"})
    coordination = RedisCoordination.from_settings(settings)
    jobs = JobStore(objects=S3ObjectStore.from_settings(settings), decisions=coordination)
    client = Client.from_settings(settings)
    manifest = _prepared(client, publish(stack, delay_s=0.001), _OPEN_SHARDS)
    manifest = manifest.model_copy(update={"queue": "rounds"})
    coordination.open_job(manifest.job_id, new=True)
    jobs.create(manifest)
    sender = RecordingSender()
    reconciler = Reconciler(
        jobs=jobs,
        manifests=Manifests(jobs=jobs),
        recovery=coordination,
        sender=sender,
        settings=settings,
        holder="fleet",
    )
    while not sender.messages:
        reconciler.round()
    # After the look at the store, which finds no outcome.
    coordination.restore_done(manifest.job_id, range(_OPEN_SHARDS // 2))

    def rounds() -> None:
        for _ in range(_ROUNDS):
            reconciler.round()

    spent = meters.of(rounds)
    jobs.request_cancel(manifest.job_id, "measured")
    coordination.drop_jobs([manifest.job_id])
    client.close()
    return {
        "round_leader_s": spent.own_s / _ROUNDS / _OPEN_SHARDS,
        "round_redis_s": spent.redis_s / _ROUNDS / _OPEN_SHARDS,
    }


def _page(stack: Stack, meters: _Meters) -> dict[str, float]:
    objects = S3ObjectStore.from_settings(stack.settings)
    for number in range(_PAGE):
        objects.put(f"page/{number:08d}.json", b"{" + bytes(600) + b"}")

    def pages() -> None:
        for _ in range(_REPEATS):
            assert sum(1 for _ in objects.list("page/")) == _PAGE

    pages()
    return {"page_store_s": meters.of(pages).store_s / _REPEATS}


def _board(stack: Stack, meters: _Meters) -> dict[str, float]:
    board = RedisCoordination.from_settings(stack.settings)
    for number in range(_WORKERS):
        board.report(
            WorkerReport(
                name=f"worker-of-a-pod-in-a-cluster-{number:06d}",
                version="1",
                queue="fornada",
                engine="openvino",
                models=["fashion-mnist:12"],
                threads=4,
                shards_running=4,
                items_done=10**6,
                items_per_s=1000.0,
                started_at=now(),
            )
        )

    def pages() -> None:
        for _ in range(_REPEATS * 4):
            assert len(board.workers()) == _WORKERS

    return {"board_redis_s": meters.of(pages).redis_s / (_REPEATS * 4) / _WORKERS}
