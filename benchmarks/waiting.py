"""How long after a job's last outcome those who wait hear of it, and what a submission takes.

One worker. Jobs read stored arrays, as many as take about the stated time; each is waited for by
one door. A submission over many arrays is timed to its first message, and to the client's return.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import numpy as np
import redis

from benchmarks.contenders.fornada_worker import TIMEOUT_S, last_outcome_at
from benchmarks.contract import to_npy
from benchmarks.measuring import machine
from fornada.local.stack import Stack
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from gateway.auth.api_keys import ApiKeys
from gateway.auth.scopes import Scope
from producer import AsyncClient, Client, StoredImages
from producer.job_status import JobStatus
from producer.remote.client import RemoteClient
from producer.remote.gateway import Gateway

_MODEL = "course"
_ITEM_SHAPE = (28, 28)
_ITEMS = 10_000
#: Objects of the jobs from which the rate is taken.
_FIRST_OBJECTS = 20
_LENGTHS_S = (0.05, 1.0, 3.0)
#: A command takes longer to start than the shortest job to end.
_LEAST_OF_A_COMMAND_S = 1.0
_REFERENCES = (240, 1000)


@click.command()
@click.option("--rounds", default=20, show_default=True, help="Jobs of a length, for each door.")
def main(rounds: int) -> None:
    """Measure.

    Example: python -m benchmarks.waiting
    """
    print(f"load before: {machine.load()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="fornada-bench-") as name:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("FORNADA_")}
        with Stack(data_dir=Path(name, "servers"), environ=environ, gateway=True) as stack:
            environ |= stack.environ | {"FORNADA_CACHE_DIR": f"{name}/cache"}
            environ["FORNADA_LOG_LEVEL"] = "WARNING"
            _publish(environ, Path(name, f"{_MODEL}.keras"))
            bench = _Bench(environ, gateway_url=stack.gateway_url or "")
            for count in _REFERENCES:
                print(bench.submission(count, rounds=rounds), flush=True)
            command = [sys.executable, "-P", "-m", "fornada", "worker"]
            with subprocess.Popen(command, env=environ) as supervisor:
                try:
                    for line in bench.waits(rounds=rounds):
                        print(line, flush=True)
                finally:
                    supervisor.terminate()
                    supervisor.wait(60)
    print(f"load after: {machine.load()}")


def _publish(environ: Mapping[str, str], path: Path) -> None:
    for step in (["make", "Course"], ["publish"]):
        command = [sys.executable, "-m", "benchmarks.first_result_steps", *step, str(path)]
        subprocess.run(command, env=environ, check=True, capture_output=True)


class _Bench:
    """A deployment, and its doors."""

    def __init__(self, environ: Mapping[str, str], *, gateway_url: str) -> None:
        self._environ = environ
        self._settings = Settings.from_env(environ)
        self._objects = S3ObjectStore.from_settings(self._settings)
        self._client = Client.from_settings(self._settings)
        _, token = ApiKeys(objects=self._objects).create("bench", scopes=list(Scope))
        self._remote = RemoteClient(Gateway(url=gateway_url, api_key=token))

    def submission(self, count: int, *, rounds: int) -> str:
        """A line on submissions over `count` arrays of ten items, while no worker runs."""
        stored = self._stored(f"many-{count}", count, items=10)
        queue = self._settings.queue
        first_ms, all_ms = [], []
        with redis.Redis.from_url(self._settings.redis_url.get_secret_value()) as server:
            for _ in range(rounds):
                server.delete(queue)
                heard_s: list[float] = []
                waits = threading.Thread(target=_first_message, args=(server, queue, heard_s))
                waits.start()
                began_s = time.perf_counter()
                job = self._client.submit(stored, model=_MODEL)
                all_ms.append(1e3 * (time.perf_counter() - began_s))
                waits.join()
                first_ms.append(1e3 * (heard_s[0] - began_s))
                job.cancel()
            server.delete(queue)
        return (
            f"submit over {count} arrays: first message after {_spread(first_ms)}, "
            f"return after {_spread(all_ms)}"
        )

    def waits(self, *, rounds: int) -> list[str]:
        """Lines on waits, by the length of the job and the door."""
        first = self._stored("first", _FIRST_OBJECTS)
        self._client.submit(first, model=_MODEL).wait(timeout_s=TIMEOUT_S)
        status = self._client.submit(first, model=_MODEL).wait(timeout_s=TIMEOUT_S)
        items_per_s = status.items_per_s or 1.0
        doors: dict[str, Callable[[str], object]] = {
            "Job.wait": lambda job_id: self._client.job(job_id).wait(timeout_s=TIMEOUT_S),
            "AsyncJob.wait": lambda job_id: asyncio.run(self._wait_in_loop(job_id)),
            "gateway": lambda job_id: self._remote.job(job_id).wait(timeout_s=TIMEOUT_S),
            "fornada jobs watch": self._watch,
        }
        lines = []
        for length_s in _LENGTHS_S:
            items = max(1, round(items_per_s * length_s))
            objects = max(1, round(items / _ITEMS))
            stored = self._stored(f"length-{length_s:g}", objects, items=min(items, _ITEMS))
            for name, door in doors.items():
                if door == self._watch and length_s < _LEAST_OF_A_COMMAND_S:
                    continue
                found_ms = [self._heard_after_ms(stored, door) for _ in range(rounds)]
                lines.append(f"{name}, jobs of {length_s:g} s: {_spread(found_ms)}")
        return lines

    def _heard_after_ms(self, stored: StoredImages, door: Callable[[str], object]) -> float:
        job = self._client.submit(stored, model=_MODEL)
        door(job.id)
        heard_at = time.time()
        status = job.status()
        assert status.state == "SUCCEEDED", status.reason
        return 1e3 * (heard_at - last_outcome_at([status]))

    async def _wait_in_loop(self, job_id: str) -> JobStatus:
        async with AsyncClient.from_settings(self._settings) as client:
            job = await client.job(job_id)
            return await job.wait(timeout_s=TIMEOUT_S)

    def _watch(self, job_id: str) -> None:
        command = [sys.executable, "-P", "-m", "fornada", "jobs", "watch", job_id, "--json"]
        subprocess.run(command, env=dict(self._environ), check=True, capture_output=True)

    def _stored(self, name: str, count: int, *, items: int = _ITEMS) -> StoredImages:
        """Arrays that jobs may read."""
        prefix = f"inputs/{name}/"
        data = to_npy(np.zeros((items, *_ITEM_SHAPE), np.float32))
        for number in range(count):
            self._objects.put(f"{prefix}{number:05d}.npy", data)
        # The embedded server computes each ETag on the first listing.
        for _ in self._objects.list(prefix):
            pass
        return StoredImages(bucket=self._settings.s3_bucket, prefix=prefix)


def _first_message(server: "redis.Redis", queue: str, heard_s: list[float]) -> None:
    server.blpop([queue], timeout=60)
    heard_s.append(time.perf_counter())


def _spread(found_ms: list[float]) -> str:
    return f"{statistics.median(found_ms):.0f} ms, at worst {max(found_ms):.0f}"


if __name__ == "__main__":
    main()
