"""Throughput by cores, and one worker process beside one for each core: `benchmarks.scale --cores`.

Rounds alternate between all of them, so that what else the machine does disturbs all alike. The
worker has the first cores; client and servers have the others where there are any, and share its
cores where there are none: rates then say less than the worker's CPU time an image.
"""

import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.contenders import fornada_worker
from benchmarks.contract import BUCKET
from benchmarks.measuring import process_tree
from benchmarks.measuring.servers import Servers
from benchmarks.reporting.comparison import rate_text
from benchmarks.reporting.table import lined_up
from producer import Client, StoredImages

ENGINES = ("keras", "openvino")
_MODELS = ("mlp", "cnn")
#: Jobs of a pass, submitted together: of a single one, the last shards leave cores idle.
_JOBS = 4
_ROUNDS = 3
_MICRO = 1e6


@contextmanager
def kept_off(cores: int) -> Iterator[None]:
    """Run this process, and what it starts, on other cores than the first, if there are any."""
    granted = os.sched_getaffinity(0)
    with _pinned(sorted(granted)[cores:] or sorted(granted)):
        yield


@contextmanager
def _pinned(cores: Sequence[int]) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class CoreTable:
    """Passes over the images of `mlp` and `cnn`, by engine, cores and processes.

    Args:
        servers: Have the images.
        folder: For the workers' caches and log.
        cores: The first of these numbers of `granted`.
        granted: The cores of this machine.
    """

    def __init__(
        self, servers: Servers, *, folder: Path, cores: Sequence[int], granted: Sequence[int]
    ) -> None:
        self._servers = servers
        self._folder = folder
        self._granted = granted
        self._shapes = [(n, p) for n in cores for p in sorted({1, n})]
        #: Images a second, and the worker's CPU microseconds an image.
        self._found: dict[tuple[str, str, int, int], list[tuple[float, float]]] = defaultdict(list)

    def measure(self) -> None:
        """Measure all in rounds."""
        for number in range(_ROUNDS):
            for engine in ENGINES:
                for cores, processes in self._shapes:
                    self._worker(engine, cores, processes)
            print(f"round {number + 1} of {_ROUNDS}:\n{self.report()}\n", flush=True)

    def _worker(self, engine: str, cores: int, processes: int) -> None:
        deployment = self._servers.deployment(self._folder, models=_MODELS)
        environ = {**self._servers.environ, **deployment, "FORNADA_ENGINE": engine}
        command = [sys.executable, "-P", "-m", "fornada", "worker", "--processes", str(processes)]
        log = (self._folder / "cores-worker.log").open("ab")
        with log, _pinned(self._granted[:cores]):
            worker = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        try:
            with Client.from_env(environ) as client:
                for model in _MODELS:
                    # Once before: every process has loaded the model, and has its threads.
                    for _ in range(2):
                        figures = _pass(client, model, worker.pid)
                    self._found[engine, model, cores, processes].append(figures)
        finally:
            worker.terminate()
            worker.wait()

    def report(self) -> str:
        """All as plain text."""
        rows = [["", "cores", "processes", "images/s", "of linear", "CPU us an image", "of 1 core"]]
        for (engine, model, cores, processes), passes in sorted(self._found.items()):
            one = _medians(self._found[engine, model, self._shapes[0][0], 1])
            images_per_s, cpu_us = _medians(passes)
            linear = one[0] * cores / self._shapes[0][0]
            rows.append(
                [
                    f"{model} {engine}",
                    str(cores),
                    str(processes),
                    rate_text(images_per_s),
                    f"{images_per_s / linear:.0%}",
                    f"{cpu_us:.2f}",
                    f"{cpu_us / one[1]:.2f}",
                ]
            )
        return lined_up(rows)

    def to_json(self) -> Mapping[str, list[tuple[float, float]]]:
        """Every pass, by `engine model cores processes`."""
        return {" ".join(map(str, key)): passes for key, passes in self._found.items()}


def _medians(passes: Sequence[tuple[float, float]]) -> tuple[float, float]:
    rates, cpu_us = zip(*passes, strict=True)
    return statistics.median(rates), statistics.median(cpu_us)


def _pass(client: Client, model: str, pid: int) -> tuple[float, float]:
    """Images a second, first shard begun to last outcome, and CPU microseconds an image."""
    began_cpu_s = process_tree.cpu_s(pid)
    stored = StoredImages(bucket=BUCKET, prefix=f"inputs/{model}/")
    jobs = [client.submit(stored, model=model) for _ in range(_JOBS)]
    statuses = fornada_worker.wait(jobs)
    cpu_s = process_tree.cpu_s(pid) - began_cpu_s
    began_s = min(s.started_at.timestamp() for s in statuses if s.started_at)
    item_count = sum(status.items for status in statuses)
    duration_s = fornada_worker.last_outcome_at(statuses) - began_s
    return item_count / duration_s, _MICRO * cpu_s / item_count
