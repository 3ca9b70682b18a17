"""Measure one worker process on a GPU, and print what share of the machine it reaches."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from benchmarks.gpu.deployment import Deployment, deployed
from benchmarks.gpu.workloads import FULL, QUICK, Workload
from benchmarks.measuring import machine
from benchmarks.output_folder import OutputFolder

#: No pass of a workload begins later, so that the run ends within eight minutes.
_LAST_BEGIN_S = 360.0
#: Jobs of which the fastest counts: the first still raises the number of shards in hand.
_JOBS = 3


@click.command()
@click.option("--quick", is_flag=True, help="Little work, on a CPU too, as a check.")
@click.option("--only", multiple=True, type=click.Choice(list(FULL)), help="Repeatable.")
@click.option("--output", type=OutputFolder(), help="For the record.")
def main(*, quick: bool, only: tuple[str, ...], output: Path | None) -> None:
    """Measure the limits of a GPU and of the store path, each alone, and Fornada.

    Example: python -m benchmarks.gpu --quick
    """
    began_s = time.monotonic()
    chosen = [w for name, w in (QUICK if quick else FULL).items() if not only or name in only]
    record: dict[str, Any] = {"machine": machine.describe(), "workloads": {}}
    with tempfile.TemporaryDirectory(prefix="fornada-gpu-") as name, deployed(Path(name)) as stack:
        for workload in chosen:
            if time.monotonic() - began_s > _LAST_BEGIN_S:
                print(f"{workload.name}: left out, the time is over", flush=True)
                continue
            found = _measured(workload, stack, folder=Path(name), quick=quick)
            record["workloads"][workload.name] = found
            print(json.dumps({workload.name: found}), flush=True)
    record["minutes"] = round((time.monotonic() - began_s) / 60, 1)
    print(f"\n{_table(chosen, record)}\n\n{record['minutes']} minutes")
    if output is not None:
        (output / "gpu.json").write_text(json.dumps(record, indent=1) + "\n")


def _measured(
    workload: Workload, stack: Deployment, *, folder: Path, quick: bool
) -> dict[str, Any]:
    limit = _in_process(workload, folder=folder, quick=quick)
    stack.put(workload)
    stack.publish(workload)
    store = stack.store_path(workload)
    with stack.worker(workload):
        # Loads and compiles.
        stack.job(workload, object_count=1)
        jobs = [stack.job(workload) for _ in range(1 if quick else _JOBS)]
    best = min(jobs, key=lambda job: job.computed_s)
    engine_rate = max(found["rate"] for found in limit["found"])
    rate = workload.image_count / best.computed_s
    overlapped = min(engine_rate, max(store.values()))
    return {
        "engine": best.engine,
        "tile_items": best.tile_items,
        "in_process": limit["found"],
        "store_path": store,
        "jobs_s": [(job.computed_s, job.waited_s) for job in jobs],
        "engine_rate": engine_rate,
        "store_rate": max(store.values()),
        "overlapped": overlapped,
        "rate": rate,
        "of_overlapped": rate / overlapped,
        "of_engine": rate / engine_rate,
    }


def _in_process(workload: Workload, *, folder: Path, quick: bool) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "benchmarks.gpu.in_process", workload.name, str(folder)]
    run = subprocess.run(
        [*command, *(["--quick"] if quick else [])],
        env={**os.environ, "PYTHONPATH": _python_path()},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if run.returncode:
        raise click.ClickException(f"{workload.name} in process ended with {run.returncode}")
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def _python_path() -> str:
    own = str(Path(__file__).parents[2])
    return os.pathsep.join([own, *filter(None, [os.environ.get("PYTHONPATH")])])


def _table(chosen: list[Workload], record: dict[str, Any]) -> str:
    heads = ["images/s", "in process", "store path", "overlapped limit", "Fornada"]
    heads += ["of the overlapped limit", "of in process"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for workload in chosen:
        found = record["workloads"].get(workload.name)
        if found is None:
            continue
        best = max(found["in_process"], key=lambda each: each["rate"])
        cells = [
            workload.label,
            f"{_rate(found['engine_rate'])} (tile {best['tile']}, {best['threads']} threads)",
            _rate(found["store_rate"]),
            _rate(found["overlapped"]),
            f"{_rate(found['rate'])} (tile {found['tile_items']})",
            f"{found['of_overlapped']:.0%}",
            f"{found['of_engine']:.0%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    engines = sorted({found["engine"] for found in record["workloads"].values()})
    described = record["machine"]
    lines += ["", f"{', '.join(engines)}; {described['cores']} cores, {described['cpu']}"]
    return "\n".join(lines)


def _rate(value: float) -> str:
    millions = value / 1e6
    return f"{millions:.2f} M" if millions >= 1 else f"{1000 * millions:.1f} k"


if __name__ == "__main__":
    main()
