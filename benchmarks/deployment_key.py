"""What a deployment key costs: calls of `predict`, and small jobs, with a key and without one.

By turns, in one run. CPU is that of the client and its worker; where other work shares the machine,
it says more than the rate. Without a key, more is read from the store.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np
import psutil

from benchmarks.measuring import machine
from fornada.local.stack import Stack
from fornada.settings import Settings
from fornada.trust.deployment_keys import DeploymentKeys
from producer import Client

_MODEL = "course"
_IMAGE = np.random.default_rng(0).integers(0, 256, (1, 28, 28), np.uint8)
_CALLERS = 64
_TIMEOUT_S = 600.0
_TRIES = 20_000
#: Signed and verified: a call and its answer; the manifest in a message, and what Redis keeps of a
#: job's end, which only its author looks at.
_HMACS = {"predict": 4, "submit_many": 3}


@click.command()
@click.option("--turns", default=3, show_default=True, help="Workers with a key, and without.")
@click.option("--items", default=1000, show_default=True, help="Calls, and jobs, of a turn.")
def main(turns: int, items: int) -> None:
    """Measure.

    Example: python -m benchmarks.deployment_key
    """
    print(f"load before: {machine.load()}", flush=True)
    found: dict[tuple[str, bool], list[tuple[float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="fornada-bench-") as name:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("FORNADA_")}
        with Stack(data_dir=Path(name, "servers"), environ=environ) as stack:
            environ |= stack.environ | {"FORNADA_CACHE_DIR": f"{name}/cache"}
            environ["FORNADA_LOG_LEVEL"] = "WARNING"
            _publish(environ, Path(name, f"{_MODEL}.keras"))
            plain = {k: v for k, v in environ.items() if k != "FORNADA_DEPLOYMENT_KEYS"}
            for _ in range(turns):
                for each in (environ, plain):
                    for work, per_item in _turn(each, items).items():
                        found[work, each is environ].append(per_item)
    hmac_us = _hmac_us(DeploymentKeys.from_settings(Settings.from_env(environ)))
    print(f"one HMAC of an item's bytes: {hmac_us:.1f} us")
    for work, count in _HMACS.items():
        per_s, cpu_us = map(statistics.median, zip(*found[work, True], strict=True))
        plain_per_s, plain_cpu_us = map(statistics.median, zip(*found[work, False], strict=True))
        print(
            f"{work}: without a key {plain_per_s:.0f} a second, {plain_cpu_us:.0f} us of CPU each; "
            f"with one {per_s:.0f}, {cpu_us:.0f} us ({100 * (cpu_us / plain_cpu_us - 1):+.1f} %), "
            f"of which its {count} HMACs are {100 * count * hmac_us / cpu_us:.2f} %"
        )
    print(f"load after: {machine.load()}")


def _publish(environ: Mapping[str, str], path: Path) -> None:
    for step in (["make", "Course"], ["publish"]):
        command = [sys.executable, "-m", "benchmarks.first_result_steps", *step, str(path)]
        subprocess.run(command, env=environ, check=True, capture_output=True)


def _turn(environ: Mapping[str, str], items: int) -> dict[str, tuple[float, float]]:
    """Items a second, and microseconds of CPU an item, of a worker and its client."""

    def predict() -> None:
        with ThreadPoolExecutor(_CALLERS) as pool:
            list(pool.map(lambda _: client.predict(_IMAGE, model=_MODEL), range(items)))

    def submit_many() -> None:
        jobs = client.submit_many([_IMAGE] * items, model=_MODEL)
        for job in jobs:
            job.wait(timeout_s=_TIMEOUT_S)

    command = [sys.executable, "-P", "-m", "fornada", "worker"]
    with subprocess.Popen(command, env=environ) as supervisor:
        try:
            with Client.from_settings(Settings.from_env(environ)) as client:
                client.submit(_IMAGE, model=_MODEL).wait(timeout_s=_TIMEOUT_S)
                worker = psutil.Process(supervisor.pid)
                return {w.__name__: _per_item(w, items, worker) for w in (predict, submit_many)}
        finally:
            supervisor.terminate()
            supervisor.wait(60)


def _per_item(work: Callable[[], None], items: int, worker: psutil.Process) -> tuple[float, float]:
    processes = [psutil.Process(), worker, *worker.children(recursive=True)]

    def cpu_s() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    work()
    before_s, began_s = cpu_s(), time.perf_counter()
    work()
    return items / (time.perf_counter() - began_s), 1e6 * (cpu_s() - before_s) / items


def _hmac_us(deployment_keys: DeploymentKeys) -> float:
    # About what the manifest of a small job has beside its items.
    data = _IMAGE.tobytes() * 2
    began_s = time.process_time()
    for _ in range(_TRIES):
        deployment_keys.sign("manifest", "job", data)
    return 1e6 * (time.process_time() - began_s) / _TRIES


if __name__ == "__main__":
    main()
