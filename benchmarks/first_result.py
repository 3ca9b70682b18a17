"""What networks cost to publish and to a worker, beside a plain script.

One run, one line a network: seconds and peak memory of publishing, the seconds to a first result of
five images in a started worker, with a verdict of the wall and without, images per second, and the
worker's memory after the load and after the model was dropped.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders.fornada_worker import last_outcome_at
from benchmarks.measuring import machine
from fornada.local.stack import Stack
from fornada.settings import Settings
from producer import Client

#: Of a course's first lesson, and of `keras.applications`.
NETWORKS = ("Course", "MobileNetV2", "ResNet50", "EfficientNetB0", "ConvNeXtTiny", "VGG16")
#: A model that takes next to nothing: loading it drops the network.
_TINY = "tiny"
_FIRST_ITEMS, _BATCH_SIZE = 5, 32
_TIMEOUT_S = 600.0
_MB = 1e6


@click.command()
@click.argument("networks", nargs=-1, type=click.Choice(NETWORKS))
@click.option("--images", default=96, show_default=True, help="Images of which the rate is taken.")
def main(networks: tuple[str, ...], images: int) -> None:
    """Measure NETWORKS, by default all.

    Example: python -m benchmarks.first_result ResNet50
    """
    print(f"load before: {machine.load()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="fornada-bench-") as name:
        folder = Path(name)
        environ = {k: v for k, v in os.environ.items() if not k.startswith("FORNADA_")}
        with Stack(data_dir=folder / "servers", environ=environ) as stack:
            bench = _Bench(folder=folder, environ={**environ, **stack.environ}, image_count=images)
            print(f"worker with a tiny model: {bench.engine_mb():.0f} MB", flush=True)
            print(_HEADER, flush=True)
            for network in networks or NETWORKS:
                print(bench.line(network), flush=True)
    print(f"load after: {machine.load()}")


_HEADER = (
    f"{'network':15} {'MB':>5} {'publish s':>9} {'peak MB':>8} {'limit':>6} {'script s':>8} "
    f"{'first s':>8} {'limit':>6} {'no verdict':>10} {'limit':>6} {'images/s':>9} {'script':>7} "
    f"{'loaded MB':>9} {'dropped':>8}"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Served:
    """What a worker did with a network."""

    first_s: float
    images_per_s: float
    loaded_mb: float
    dropped_mb: float


@dataclass(frozen=True, kw_only=True)
class _Bench:
    folder: Path
    environ: dict[str, str]
    image_count: int

    def line(self, network: str) -> str:
        """Measure a network."""
        path = self.folder / f"{network}.keras"
        self._child("make", network, path)
        script = self._child("script", path, _FIRST_ITEMS, self.image_count, _BATCH_SIZE)
        published = self._child("publish", path)
        size_mb = path.stat().st_size / _MB
        path.unlink()
        images = _images(script["item_shape"], self.image_count)
        served = self._serve(network, images)
        self._child("forget_verdict", network)
        walled_s = self._first_s(network, images)
        script_s = script["took_s"]
        return (
            f"{network:15} {size_mb:5.0f} {published['took_s']:9.1f} {published['peak_mb']:8.0f} "
            f"{3 * size_mb + 700:6.0f} {script_s:8.2f} {served.first_s:8.2f} "
            f"{1.5 * script_s:6.2f} {walled_s:10.2f} {3 * script_s + 5:6.2f} "
            f"{served.images_per_s:9.1f} {script['images_per_s']:7.1f} "
            f"{served.loaded_mb:9.0f} {served.dropped_mb:8.0f}"
        )

    def engine_mb(self) -> float:
        """The memory of a worker that has predicted with the tiny model."""
        self._child("tiny", self.folder / f"{_TINY}.keras")
        with self._worker() as pid, Client.from_settings(self._settings()) as client:
            _predict(client, _TINY, np.zeros((1, 4), np.float32))
            return _resident_mb(pid)

    def _first_s(self, network: str, images: NDArray[np.float32]) -> float:
        """Seconds to a first result in another started worker."""
        with self._worker(), Client.from_settings(self._settings()) as client:
            return _predict(client, network.lower(), images[:_FIRST_ITEMS])

    def _serve(self, network: str, images: NDArray[np.float32]) -> _Served:
        with self._worker() as pid, Client.from_settings(self._settings()) as client:
            first_s = _predict(client, network.lower(), images[:_FIRST_ITEMS])
            loaded_mb = _resident_mb(pid)
            many_s = _predict(client, network.lower(), images)
            _predict(client, _TINY, np.zeros((1, 4), np.float32))
            return _Served(
                first_s=first_s,
                images_per_s=self.image_count / many_s,
                loaded_mb=loaded_mb,
                dropped_mb=_resident_mb(pid),
            )

    @contextmanager
    def _worker(self) -> Iterator[int]:
        """A started worker with an empty cache that keeps one model; its process's number."""
        with tempfile.TemporaryDirectory(dir=self.folder) as cache:
            environ = {
                **self.environ,
                "FORNADA_CACHE_DIR": cache,
                "FORNADA_MAX_LOADED_MODELS": "1",
                "FORNADA_LOG_LEVEL": "WARNING",
            }
            command = [sys.executable, "-P", "-m", "fornada", "worker"]
            with subprocess.Popen(command, env=environ) as supervisor:
                try:
                    yield _started(Path(cache, "workers"))
                finally:
                    supervisor.terminate()
                    supervisor.wait(60)

    def _settings(self) -> Settings:
        return Settings.from_env(self.environ)

    def _child(self, step: str, *arguments: object) -> dict[str, Any]:
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks.first_result_steps", step, *map(str, arguments)],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        found: dict[str, Any] = json.loads(run.stdout)
        return found


def _images(item_shape: Sequence[int], count: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((count, *item_shape), np.float32)


def _started(folder: Path) -> int:
    deadline_s = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline_s:
        for path in folder.glob("*.json"):
            return int(path.stem.rpartition("-")[2])
        time.sleep(0.05)
    raise TimeoutError("the worker did not start")


def _predict(client: Client, model: str, items: NDArray[np.float32]) -> float:
    """Seconds until the outcome of the last item was committed."""
    began_s = time.time()
    job = client.submit(items, model=model)
    status = job.wait(timeout_s=_TIMEOUT_S)
    job.results()
    return last_outcome_at([status]) - began_s


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+)", status)
    assert match is not None
    return int(match[1]) * 1024 / _MB


if __name__ == "__main__":
    main()
