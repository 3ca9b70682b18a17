"""From no worker at all to a first result, with a gateway that keeps the job meanwhile.

One line an engine: the seconds until `GET /v1/backlog` shows the work, and from the start of
`fornada worker` until it takes messages and until its first result. A cluster adds how often its
scaler asks, and what it takes to place a pod and to pull its image.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import httpx2
import numpy as np

from benchmarks.contenders.fornada_worker import last_outcome_at
from benchmarks.fleet.measure import publish
from benchmarks.measuring import machine
from fornada.local.stack import Stack
from fornada.settings import Settings
from producer import Client

_ENGINES = ("test", "keras", "openvino")
_ITEMS = 5
_TIMEOUT_S = 300.0


@click.command()
@click.argument("engines", nargs=-1, type=click.Choice(_ENGINES))
def main(engines: tuple[str, ...]) -> None:
    """Measure ENGINES, by default all: `test` has no framework, the others load a small CNN.

    Example: python -m benchmarks.cold_start openvino
    """
    print(f"load before: {machine.load()}")
    print(f"{'engine':10} {'work shown s':>12} {'takes messages s':>16} {'first result s':>14}")
    environ = {k: v for k, v in os.environ.items() if not k.startswith("FORNADA_")}
    for engine in engines or _ENGINES:
        with tempfile.TemporaryDirectory(prefix="fornada-bench-") as name:
            folder = Path(name)
            with Stack(data_dir=folder, gateway=True, environ=environ) as stack:
                print(_line(engine, stack, {**environ, **stack.environ}, folder), flush=True)
    print(f"load after: {machine.load()}")


def _line(engine: str, stack: Stack, environ: dict[str, str], folder: Path) -> str:
    environ |= {"FORNADA_ENGINE": engine, "FORNADA_CACHE_DIR": str(folder / "cold")}
    model = _published(engine, stack, environ, folder)
    shown_in_s, takes_in_s, first_in_s = _cold_start(model, stack, environ)
    return f"{engine:10} {shown_in_s:12.2f} {takes_in_s:16.1f} {first_in_s:14.1f}"


def _published(engine: str, stack: Stack, environ: dict[str, str], folder: Path) -> str:
    if engine == "test":
        return publish(stack, delay_s=0.0)
    path = folder / "course.keras"
    for step in (["make", "Course", str(path)], ["publish", str(path)]):
        command = [sys.executable, "-m", "benchmarks.first_result_steps", *step]
        subprocess.run(command, env=environ, check=True, capture_output=True)
    return path.stem


def _cold_start(model: str, stack: Stack, environ: dict[str, str]) -> tuple[float, float, float]:
    with Client.from_settings(Settings.from_env(environ)) as client:
        shape = [side or 1 for side in client.model(model).input.shape]
        items = np.zeros((_ITEMS, *shape), client.model(model).input.numpy_dtype)
        job = client.submit(items, model=model)
        submitted_s = time.time()
        _until(lambda: _work(stack) > 0)
        shown_s = time.time()
        command = [sys.executable, "-P", "-m", "fornada", "worker"]
        with subprocess.Popen(
            command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as supervisor:
            try:
                _until(client.workers)
                takes_s = time.time()
                status = job.wait(timeout_s=_TIMEOUT_S)
            finally:
                supervisor.terminate()
                supervisor.wait(60)
    first_s = last_outcome_at([status])
    return shown_s - submitted_s, takes_s - shown_s, first_s - shown_s


def _work(stack: Stack) -> int:
    key = stack.environ["FORNADA_API_KEY"]
    answer = httpx2.get(
        f"{stack.gateway_url}/v1/backlog?queue=fornada",
        headers={"Authorization": f"Bearer {key}"},
    )
    work: int = answer.raise_for_status().json()["work"]
    return work


def _until(holds: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + _TIMEOUT_S
    while not holds():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not within {_TIMEOUT_S:g} s")
        time.sleep(0.02)


if __name__ == "__main__":
    main()
