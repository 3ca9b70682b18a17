"""How the command line shows a job: as a table, as JSON, as a progress bar."""

import json
import sys
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fornada.console import console
from fornada.errors import JobFailedError
from fornada.logs import get_logger
from producer.job import Job, JobStatus

log = get_logger(__name__)


def watch(job: Job, *, timeout_s: float | None) -> JobStatus:
    """Wait with a bar on a terminal, a log line for every change elsewhere."""
    if not sys.stderr.isatty():
        return job.wait(timeout_s, on_progress=_ChangeLogger())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images  {task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("QUEUED", total=job.manifest.item_count, rate="")

        def update(status: JobStatus) -> None:
            rate = f"{status.items_per_s:,.0f}/s" if status.items_per_s else ""
            progress.update(task, description=status.state, completed=status.items_done, rate=rate)

        return job.wait(timeout_s, on_progress=update)


class _ChangeLogger:
    """Logs progress when there is any."""

    def __init__(self) -> None:
        self._last: tuple[str, int] | None = None

    def __call__(self, status: JobStatus) -> None:
        seen = (status.state, status.items_done)
        if seen != self._last:
            self._last = seen
            log.info(
                "job progress", job_id=status.job_id, state=status.state, items=status.items_done
            )


def finish(status: JobStatus, *, as_json: bool) -> None:
    """Print how the job ended.

    Raises:
        JobFailedError: Not with SUCCEEDED.
    """
    print_status(status, as_json=as_json)
    if status.state != "SUCCEEDED":
        raise JobFailedError(
            f"job {status.job_id} ended {status.state}: {status.reason}; see "
            f"`fornada jobs results {status.job_id} --partial`"
        )


def print_status(status: JobStatus, *, as_json: bool) -> None:
    """Print how the job stands."""
    if as_json:
        print_json(plain(status))
        return
    table = Table(show_header=False, box=None)
    rows = {
        "job": status.job_id,
        "state": status.state,
        "model": f"{status.model} (sha256 {status.model_sha256[:12]}…)",
        "items": f"{status.items_done} of {status.items} done",
        "failed items": status.items_failed,
        "shards": f"{status.shards_done} of {status.shards} done",
        "dead shards": status.shards_dead,
        "submitted": f"{status.created_at:%F %T}Z",
        "ended": f"{status.ended_at:%F %T}Z" if status.ended_at else None,
        "rate": f"{status.items_per_s:,.0f} items/s" if status.items_per_s else None,
        "left": f"about {status.eta_s:,.0f} s" if status.eta_s else None,
        "reason": status.reason,
        **{f"tag {key}": value for key, value in status.tags.items()},
    }
    for name, value in rows.items():
        if value not in {None, ""}:
            table.add_row(name, str(value))
    console().print(table)


def plain(status: JobStatus) -> dict[str, Any]:
    """The status as JSON values."""
    values = asdict(status)
    for name in ("created_at", "ended_at"):
        values[name] = values[name] and values[name].isoformat()
    return values


def print_json(value: dict[str, Any]) -> None:
    """Print the one JSON object of a command."""
    click.echo(json.dumps(value))
