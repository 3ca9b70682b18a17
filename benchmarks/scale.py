"""`make bench-scale`: throughput by workers and shard size, and the cost of a shard.

Writes figures of docs/capacity.md; what follows for a fleet is simulated by `benchmarks.fleet`.
"""

import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import redis

from benchmarks.contenders import fornada_worker
from benchmarks.contract import BUCKET, to_npy
from benchmarks.cores import CoreTable, kept_off
from benchmarks.measuring import machine, process_tree
from benchmarks.measuring.prepare import prepared
from benchmarks.measuring.s3_counter import S3Counter
from benchmarks.measuring.servers import Servers, started_servers
from benchmarks.reporting.comparison import rate_text
from benchmarks.reporting.table import lined_up
from benchmarks.workloads import FULL, Sizes
from fornada.queue.celery_queue import CelerySender
from fornada.queue.message import ShardMessage
from fornada.settings import Settings
from producer import Client, Job, StoredImages

_FOLDER = Path(__file__).parent
_CACHE = _FOLDER / ".cache"
_MODELS = ("mlp", "empty")
_PROCESSES = (1, 2)
_ITEMS_PER_SHARD = (64, 256, 1024, 4096, 10_000)
#: Items per shard size; small shards take longer and get fewer.
_MOST_ITEMS, _MOST_SHARDS = 100_000, 400
#: The cost of a shard is the difference of two jobs: fixed costs of a job cancel out.
_FEW, _MANY = 50, 250
_FEW_LARGE, _MANY_LARGE = 4, 24
#: A window so small that its refill is the limit.
_WINDOW, _WINDOW_SHARDS = 20, 140
_MESSAGES = 1000
_LARGE_SHARD = 4096
#: Fewer requests of a kind per shard belong to the job.
_LEAST_REQUESTS = 0.05
#: One-item shards with inputs in objects, unlike those of small jobs.
_ONE_ITEM = {"FORNADA_MAX_BATCH_SIZE": "1", "FORNADA_MAX_INLINE_BYTES": "0"}
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=_FOLDER / "results")
@click.option("--cores", metavar="1,2,4", help="Only throughput by cores and processes.")
def main(output: Path, cores: str | None) -> None:
    """Measure how throughput scales, and what a shard costs Redis and the store.

    Example: python -m benchmarks.scale --cores 1,2
    """
    # As on Ctrl-C: worker and servers end with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sizes = _sizes()
    data = prepared(sizes, cache=_CACHE)
    _CACHE.mkdir(exist_ok=True)
    counts = sorted({int(count) for count in (cores or "").split(",") if count})
    granted = sorted(os.sched_getaffinity(0))
    if counts and not 1 <= counts[0] <= counts[-1] <= len(granted):
        raise click.UsageError(f"--cores {cores}: this machine grants 1 to {len(granted)}")
    with (
        kept_off(counts[-1] if counts else 0),
        process_tree.orphans_adopted(),
        tempfile.TemporaryDirectory(prefix="run-", dir=_CACHE, ignore_cleanup_errors=True) as name,
        started_servers(folder=Path(name, "servers"), data=data, sizes=sizes) as servers,
    ):
        if counts:
            table = CoreTable(servers, folder=Path(name), cores=counts, granted=granted)
            table.measure()
            print(json.dumps(table.to_json()))
            return
        scale = _Scale(servers, folder=Path(name))
        found: dict[str, Any] = {
            "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%MZ}",
            "commit": machine.commit(_FOLDER.parent),
            "machine": machine.describe(),
            "load_before": machine.load(),
            "servers": servers.versions(),
            "by_processes": {n: scale.items_per_s(processes=n) for n in _PROCESSES},
            "by_shard_size": {n: scale.items_per_s(shard_items=n) for n in _ITEMS_PER_SHARD},
            "requests_per_shard": scale.requests(),
            "small_shard": scale.costs("empty", few=_FEW, many=_MANY),
            "large_shard": scale.costs("mlp", few=_FEW_LARGE, many=_MANY_LARGE),
            "enqueued_per_s": scale.enqueued_per_s(),
            "refill": scale.refill(),
        }
    print(report_of(found))
    path = output / f"{found['date'][:10]}-{machine.slug(found['machine'])}-scale.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\nwritten: {os.path.relpath(path)}")


def _sizes() -> Sizes:
    """Those of a full run, of what is used here."""
    objects = {name: FULL.objects[name] for name in ("mlp", "cnn")}
    return replace(FULL, objects=objects, photos=0)


class _Scale:
    """Runs jobs on running servers, each in a new deployment."""

    def __init__(self, servers: Servers, *, folder: Path) -> None:
        self._servers = servers
        self._folder = folder
        self._images = np.load(servers.data / "mlp.npy", mmap_mode="r")

    def items_per_s(self, *, processes: int = 1, shard_items: int = 10_000) -> float:
        """Throughput from submission to last outcome, with a warm worker."""
        shards = min(_MOST_SHARDS, _MOST_ITEMS // shard_items)
        prefix = f"sizes/{shard_items}/"
        for number in range(shards):
            rows = self._images[number * shard_items : (number + 1) * shard_items]
            self._servers.objects.put(f"{prefix}{number:05d}.npy", to_npy(rows))
        stored = StoredImages(bucket=BUCKET, prefix=prefix)
        with self._worker({}, processes=processes) as client:
            # Twice: one of two processes may do all of the first job while the other loads.
            for _ in range(2):
                began_at = time.time()
                job = client.submit(stored, model="mlp")
                ended_at = fornada_worker.last_outcome_at(fornada_worker.wait([job]))
        return job.manifest.item_count / (ended_at - began_at)

    def requests(self) -> dict[str, float]:
        """Store requests per additional shard, from submission to outcome."""
        upstream = self._servers.stack.environ["FORNADA_S3_ENDPOINT_URL"]
        with S3Counter(upstream) as counter:
            counts: list[Counter[str]] = []
            settings = {"FORNADA_S3_ENDPOINT_URL": counter.url, **_ONE_ITEM}
            with self._worker(settings) as client:
                for shards in (1, _FEW, _MANY):
                    counter.counts.clear()
                    self._run(client, "empty", shards)
                    counts.append(counter.counts.copy())
        few, many = counts[1:]
        more = {kind: (many[kind] - few[kind]) / (_MANY - _FEW) for kind in sorted(many)}
        return {kind: round(n, 2) for kind, n in more.items() if n > _LEAST_REQUESTS}

    def costs(self, model: str, *, few: int, many: int) -> dict[str, float]:
        """Cost of an additional shard: worker seconds, Redis commands, the servers' CPU."""
        with self._worker(_ONE_ITEM if model == "empty" else {}) as client:
            self._run(client, model, few)
            spent = [self._spent(client, model, shards) for shards in (few, many)]
        return {name: (spent[1][name] - spent[0][name]) / (many - few) for name in spent[0]}

    def enqueued_per_s(self) -> float:
        """Messages that one process enqueues per second."""
        environ = self._servers.deployment(self._folder, models=_MODELS)
        sender = CelerySender.from_settings(Settings.from_env(environ))
        messages = [ShardMessage(job_id="none", shard=n) for n in range(_MESSAGES)]
        sender.enqueue(messages[:1])
        began = time.monotonic()
        sender.enqueue(messages)
        return _MESSAGES / (time.monotonic() - began)

    def refill(self) -> dict[str, float]:
        """Throughput with a window that is too small, beside the expected window / interval."""
        settings = {"FORNADA_ENQUEUE_WINDOW": str(_WINDOW), **_ONE_ITEM}
        with self._worker(settings) as client:
            self._run(client, "empty", 1)
            job = self._run(client, "empty", _WINDOW_SHARDS)
            seconds = _running_s(job)
        # The submission itself fills the first window.
        return {
            "window": _WINDOW,
            "shards_per_s": (_WINDOW_SHARDS - _WINDOW) / seconds,
            "expected": _WINDOW / Settings().reconcile_interval_s,
        }

    def _spent(self, client: Client, model: str, shards: int) -> dict[str, float]:
        before = self._meters()
        job = self._run(client, model, shards)
        spent = {name: value - before[name] for name, value in self._meters().items()}
        return {**spent, "seconds": _running_s(job)}

    def _meters(self) -> dict[str, float]:
        url = self._servers.stack.settings.redis_url.get_secret_value()
        with redis.Redis.from_url(url) as client:
            info = client.info("all")
        commands = sum(one["calls"] for name, one in info.items() if name.startswith("cmdstat_"))
        return {
            "redis_commands": float(commands),
            "redis_cpu_s": info["used_cpu_user"] + info["used_cpu_sys"],
            "s3_cpu_s": _cpu_s("rclone"),
        }

    def _run(self, client: Client, model: str, shards: int) -> Job:
        """Run a job of `shards` shards: of one item for the empty model, else large ones."""
        if model == "empty":
            images, items = np.zeros((shards, 1), np.uint8), 1
        else:
            images, items = np.array(self._images[: shards * _LARGE_SHARD]), _LARGE_SHARD
        job = client.submit(images, model=model, items_per_shard=items)
        fornada_worker.wait([job])
        return job

    @contextlib.contextmanager
    def _worker(self, settings: Mapping[str, str], *, processes: int = 1) -> Iterator[Client]:
        """A client of a new deployment with a running `fornada worker`."""
        deployment = self._servers.deployment(self._folder, models=_MODELS)
        environ = {**self._servers.environ, **deployment, **settings}
        command = [sys.executable, "-P", "-m", "fornada", "worker"]
        with (_CACHE / "scale-worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [*command, "--processes", str(processes)], env=environ, stdout=log, stderr=log
            )
        try:
            yield Client.from_env(environ)
        finally:
            worker.terminate()
            worker.wait()


def _running_s(job: Job) -> float:
    """Seconds from the start of the job's first shard to its last outcome."""
    status = job.status()
    assert status.started_at is not None
    return fornada_worker.last_outcome_at([status]) - status.started_at.timestamp()


def _cpu_s(name: str) -> float:
    """CPU seconds of our descendants with this name."""
    total = 0
    for pid in process_tree.below(os.getpid()):
        with contextlib.suppress(OSError):
            command, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
            if command.endswith(f"({name}"):
                user, system = rest.split()[11:13]
                total += int(user) + int(system)
    return total / _CLOCK_TICKS


def report_of(found: Mapping[str, Any]) -> str:
    """All figures as plain text."""
    requests = sum(found["requests_per_shard"].values())
    parts = [
        _pairs("worker processes", "images/s", found["by_processes"]),
        _pairs("images a shard", "images/s", found["by_shard_size"]),
        f"store requests a shard: {requests:.1f}: {found['requests_per_shard']}",
        *(f"{kind}: {found[kind]}" for kind in ("small_shard", "large_shard")),
        f"messages enqueued by one process: {found['enqueued_per_s']:,.0f}/s",
        (
            f"window of {found['refill']['window']}: {found['refill']['shards_per_s']:.1f} "
            f"shards/s, expected {found['refill']['expected']:.0f}"
        ),
    ]
    return "\n\n".join(parts)


def _pairs(left: str, right: str, values: Mapping[int, float]) -> str:
    return lined_up([[left, right], *([f"{n:,}", rate_text(value)] for n, value in values.items())])


if __name__ == "__main__":
    main()
