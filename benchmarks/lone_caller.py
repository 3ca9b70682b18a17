"""What `predict` takes: a lone caller's wait, the rate and CPU of 64, beside another commit's.

By turns, in one run, with both workers up. CPU is that of the client and of its worker; where other
work shares the machine, it says more than the rate.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil

from benchmarks import commits
from benchmarks.measuring import machine
from benchmarks.measuring.prepare import prepared
from benchmarks.measuring.servers import started_servers
from benchmarks.workloads import QUICK

_FOLDER = Path(__file__).parent
_CACHE = _FOLDER / ".cache"
#: Callers in threads, and in tasks of one event loop.
_CALLERS = {
    "one": {"threads": 1, "tasks": 0},
    "64 threads": {"threads": 64, "tasks": 0},
    "64 tasks": {"threads": 0, "tasks": 64},
}


@dataclass(kw_only=True)
class _Side:
    """The worker and client of a commit, on a queue of their own, and what they took."""

    name: str
    worker: psutil.Process
    client: "subprocess.Popen[str]"
    #: By callers: seconds of each call.
    latencies_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    #: By callers: calls a second, and CPU microseconds a call of client and worker, of each turn.
    turns: dict[str, list[tuple[float, float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def call(self, callers: str, count: int) -> None:
        """Make calls, and keep what they took."""
        before_s = self._worker_cpu_s()
        found = self.ask(callers, count)
        worker_s = self._worker_cpu_s() - before_s
        self.latencies_s[callers] += found["latencies_s"]
        cpu_us = [1e6 * cpu_s / count for cpu_s in (found["cpu_s"], worker_s)]
        self.turns[callers].append((count / found["took_s"], cpu_us[0], cpu_us[1]))

    def ask(self, callers: str, count: int) -> dict[str, Any]:
        """Make calls."""
        assert self.client.stdin is not None
        assert self.client.stdout is not None
        asked = {**_CALLERS[callers], "count": count}
        print(json.dumps(asked), file=self.client.stdin, flush=True)
        found: dict[str, Any] = json.loads(self.client.stdout.readline())
        return found

    def figures(self, callers: str) -> dict[str, float]:
        """The medians of the turns, and the latencies of all."""
        per_s, client_us, worker_us = np.median(self.turns[callers], axis=0)
        p50_s, p99_s = np.percentile(self.latencies_s[callers], [50, 99])
        return {
            "p50_ms": round(1e3 * p50_s, 2),
            "p99_ms": round(1e3 * p99_s, 2),
            "calls_per_s": round(per_s),
            "client_us": round(client_us),
            "worker_us": round(worker_us),
        }

    def _worker_cpu_s(self) -> float:
        processes = [self.worker, *self.worker.children(recursive=True)]
        return sum(sum(process.cpu_times()[:2]) for process in processes)


@click.command()
@click.option("--against", metavar="COMMIT", help="Measure this commit, too.")
@click.option("--model", type=click.Choice(["mlp", "cnn"]), default="mlp", show_default=True)
@click.option("--engine", default="keras", show_default=True)
@click.option("--turns", default=10, show_default=True, help="Of each commit.")
@click.option("--lone", default=100, show_default=True, help="Calls of a turn, one by one.")
@click.option("--many", default=2000, show_default=True, help="Calls of a turn, by 64 callers.")
def main(*, against: str | None, model: str, engine: str, turns: int, lone: int, many: int) -> None:
    """Measure, and print one JSON object a commit and number of callers.

    Example: python -m benchmarks.lone_caller --against main
    """
    print(f"load before: {machine.load()}", flush=True)
    data = prepared(QUICK, cache=_CACHE)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="run-", dir=_CACHE)))
        servers = stack.enter_context(
            started_servers(folder=folder / "servers", data=data, sizes=QUICK)
        )
        environ = {
            **servers.environ,
            **servers.deployment(folder, models=(model,)),
            "FORNADA_ENGINE": engine,
        }
        roots = {"this tree": _FOLDER.parent}
        if against:
            roots[against] = stack.enter_context(commits.checked_out(against, cache=_CACHE))
        arguments = [model, str(data / f"{model}.npy")]
        sides = [
            stack.enter_context(_side(name, root, environ, arguments, folder=folder))
            for name, root in roots.items()
        ]
        for turn in range(turns):
            for side in sides[:: 1 if turn % 2 else -1]:
                for callers in _CALLERS:
                    side.call(callers, lone if callers == "one" else many)
        for callers in _CALLERS:
            for side in sides:
                figures = side.figures(callers)
                print(json.dumps({"commit": side.name, "callers": callers, **figures}), flush=True)
    print(f"load after: {machine.load()}")


@contextlib.contextmanager
def _side(
    name: str, root: Path, environ: Mapping[str, str], arguments: list[str], *, folder: Path
) -> Iterator[_Side]:
    """A worker and a client of the commit in `root`, warm."""
    queue = f"queue-{root.name}".lower()
    own = {
        **environ,
        "PYTHONPATH": str(root),
        "FORNADA_QUEUE": queue,
        "FORNADA_CACHE_DIR": str(folder / queue),
    }
    steps = [sys.executable, "-P", str(_FOLDER / "lone_caller_steps.py"), *arguments]
    with (
        subprocess.Popen(
            [sys.executable, "-P", "-m", "fornada", "worker"], env=own, cwd=root
        ) as worker,
        subprocess.Popen(
            steps,
            env=own,
            cwd=root,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as client,
    ):
        try:
            side = _Side(name=name, worker=psutil.Process(worker.pid), client=client)
            # Also until the worker is up, and has the model.
            for callers in _CALLERS:
                side.ask(callers, 64)
            yield side
        finally:
            for process in (client, worker):
                process.terminate()
                process.wait(60)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
