"""`make bench`: compare Fornada with others on the same work, in one run."""

import contextlib
import datetime as dt
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click

from benchmarks import commits
from benchmarks.measuring import machine, process_tree
from benchmarks.measuring.measurement import Measurement
from benchmarks.measuring.prepare import prepared
from benchmarks.measuring.rounds import find_pythons, run_rounds
from benchmarks.measuring.servers import started_servers
from benchmarks.output_folder import OutputFolder
from benchmarks.photos import workloads as photos
from benchmarks.registry import ENGINES, Contender, contenders
from benchmarks.reporting import chart, table
from benchmarks.reporting.record import record_of
from benchmarks.workloads import FULL, QUICK, WORKLOADS, Sizes

_FOLDER = Path(__file__).parent
_CACHE = _FOLDER / ".cache"


@click.command()
@click.option("--quick", is_flag=True, help="One round of little work on one engine, as a check.")
@click.option("--only", multiple=True, help="A contender by name, repeatable; default: all.")
@click.option(
    "--workload",
    "workloads",
    multiple=True,
    type=click.Choice(list(WORKLOADS)),
    help="Repeatable; default: all.",
)
@click.option("--rounds", type=click.IntRange(1, 100), help="Default: 3, or 1 with --quick.")
@click.option(
    "--output",
    type=OutputFolder(),
    default=_FOLDER / "results",
    help="Folder for the record and the chart.",
)
@click.option("--against", metavar="COMMIT", help="Measure Fornada at this commit, too.")
def main(
    *,
    quick: bool,
    only: tuple[str, ...],
    workloads: tuple[str, ...],
    rounds: int | None,
    output: Path,
    against: str | None,
) -> None:
    """Compare Fornada with others on the same work; print a table, write a record and a chart.

    Example: python -m benchmarks --quick
    """
    # As on Ctrl-C: contenders and servers end with the harness.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sizes = QUICK if quick else FULL
    began = time.monotonic()
    everyone, left_out = contenders(ENGINES[:1] if quick and not only else ENGINES)
    chosen = _chosen(everyone, only=only, workloads=workloads)
    if not any(workload in photos.MODELS for one in chosen for workload in one.workloads):
        # They take minutes to make.
        sizes = replace(sizes, photos=0)
    with contextlib.ExitStack() as stack:
        if against:
            root = stack.enter_context(commits.checked_out(against, cache=_CACHE))
            chosen = commits.beside(chosen, commit=against, root=root)
        record = measure_all(
            chosen,
            sizes=sizes,
            rounds=rounds or sizes.rounds,
            left_out=left_out,
            cache=_CACHE,
        )
    record["minutes"] = round((time.monotonic() - began) / 60, 1)
    print(f"\n{table.report_of(record)}\n\n{record['minutes']} minutes")
    written = _write(record, output=output, suffix="-quick" if quick else "")
    print(f"written: {', '.join(os.path.relpath(path) for path in written)}")
    sys.exit(1 if record["failed"] else 0)


def _chosen(
    everyone: list[Contender], *, only: tuple[str, ...], workloads: tuple[str, ...]
) -> list[Contender]:
    """The contenders named, with the workloads named; all without a name."""
    unknown = set(only) - {contender.name for contender in everyone}
    if unknown:
        named, known = ", ".join(sorted(unknown)), ", ".join(one.name for one in everyone)
        raise click.UsageError(f"no contender here: {named}; there are {known}")
    found = []
    for contender in everyone:
        kept = tuple(one for one in contender.workloads if one in workloads or not workloads)
        if kept and (contender.name in only or not only):
            found.append(replace(contender, workloads=kept))
    return found


def measure_all(
    chosen: list[Contender],
    *,
    sizes: Sizes,
    rounds: int,
    left_out: dict[str, str],
    cache: Path,
) -> dict[str, object]:
    """Measure the contenders on new servers; return the record."""
    pythons = find_pythons(chosen, cache=cache, left_out=left_out)
    chosen = [contender for contender in chosen if contender.name in pythons]
    data = prepared(sizes, cache=cache)
    about = {
        "machine": machine.describe(),
        "load_before": machine.load(),
        "commit": machine.commit(_FOLDER.parent),
        "sizes": {**sizes.to_json(), "rounds": rounds},
    }
    cache.mkdir(parents=True, exist_ok=True)
    logs = cache / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    with (
        process_tree.orphans_adopted(),
        tempfile.TemporaryDirectory(prefix="run-", dir=cache, ignore_cleanup_errors=True) as folder,
        started_servers(folder=Path(folder, "servers"), data=data, sizes=sizes) as servers,
    ):
        measurement = Measurement(servers, sizes, folder=Path(folder))
        found, failed = run_rounds(
            chosen,
            rounds=rounds,
            measure=lambda contender, python, log_path: measurement.measure(
                contender, python=python, log_path=log_path
            ),
            pythons=pythons,
            logs=logs,
        )
        about["servers"] = servers.versions()
    names = {contender.name for contender in chosen}
    return record_of(
        chosen,
        found,
        failed=failed,
        left_out=left_out,
        engines=[engine for engine in ENGINES if f"fornada-{engine}" in names],
        about=about,
    )


def _write(record: dict[str, object], *, output: Path, suffix: str) -> list[Path]:
    described = record["machine"]
    assert isinstance(described, dict)
    today = dt.datetime.now(dt.UTC).date()
    stem = output / f"{today:%Y-%m-%d}-{machine.slug(described)}{suffix}"
    written = [stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.png")]
    written[0].write_text(json.dumps(record, indent=1) + "\n")
    written[1].write_bytes(chart.draw(record))
    return written


if __name__ == "__main__":
    main()
