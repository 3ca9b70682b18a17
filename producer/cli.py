"""`fornada submit` and `fornada jobs`."""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fornada import logs
from fornada.errors import JobFailedError, UsageError
from fornada.settings import Settings
from producer.client import Client
from producer.export import Format, write_results
from producer.inputs import read_blocks
from producer.job import Job, JobStatus
from producer.references import StoredImages

log = logs.get_logger(__name__)

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
#: Images read from files are handed on in blocks of about this size.
_BLOCK_BYTES = 16 * 1024 * 1024


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--model", required=True, metavar="NAME[:VERSION|@ALIAS]", help="What predicts.")
@click.option("--items-per-shard", type=click.IntRange(1), help="Items in one message.")
@click.option("--idempotency-key", metavar="KEY", help="Becomes the job's id; safe to repeat.")
@click.option("--deadline", "deadline_s", type=float, metavar="SECONDS", help="Begin none later.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Kept with the job.")
@click.option("--wait", "wait", is_flag=True, help="Stay until the job has ended.")
@click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="Wait no longer.")
@_JSON
def submit(  # noqa: PLR0917 - click passes options by name
    inputs: tuple[str, ...],
    model: str,
    items_per_shard: int | None,
    idempotency_key: str | None,
    deadline_s: float | None,
    tags: tuple[str, ...],
    wait: bool,  # noqa: FBT001
    timeout_s: float | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Submit images as a job.

    INPUT is any of: .npy, .npz, IDX (also gzipped), PNG and JPEG files, folders and globs of
    them; or one s3://BUCKET/PREFIX whose objects are read where they lie.

    Example: fornada submit photos/ --model fashion-mnist@prod --wait
    """
    client = _client()
    images: Any
    if inputs[0].startswith("s3://"):
        if len(inputs) > 1:
            raise UsageError("give one s3:// prefix alone, or local files; submit the rest apart")
        images = StoredImages.parse(inputs[0])
    else:
        shape = client.model(model).item_shape
        images = read_blocks(inputs, item_shape=shape, max_block_bytes=_BLOCK_BYTES)
    job = client.submit(
        images,
        model=model,
        idempotency_key=idempotency_key,
        items_per_shard=items_per_shard,
        deadline_s=deadline_s,
        tags=_parse_tags(tags),
    )
    if not wait:
        _print_status(job.status(), as_json=as_json)
        return
    click.echo(f"submitted job {job.id}", err=True)
    _finish(_watch(job, timeout_s=timeout_s), as_json=as_json)


@click.group()
def jobs() -> None:
    """List, show, watch and cancel jobs; fetch their results."""


@jobs.command("list")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Newest.")
@_JSON
def list_jobs(limit: int, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """List the newest jobs.

    Example: fornada jobs list --limit 10
    """
    statuses = _client().jobs()[:limit]
    if as_json:
        _print_json({"jobs": [_plain(status) for status in statuses]})
        return
    table = Table("job", "state", "model", "items", "shards", "submitted", box=None)
    for status in statuses:
        table.add_row(
            status.job_id,
            status.state,
            status.model,
            f"{status.items_done}/{status.items}",
            f"{status.shards_done}/{status.shards}",
            f"{status.created_at:%F %T}Z",
        )
    _console().print(table if statuses else "no jobs yet; `fornada submit` makes one")


@jobs.command()
@click.argument("job_id", metavar="JOB")
@_JSON
def show(job_id: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Show how a job stands.

    Example: fornada jobs show 20261123T154100-9f2c1e07ab
    """
    _print_status(_client().job(job_id).status(), as_json=as_json)


@jobs.command()
@click.argument("job_id", metavar="JOB")
@click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="Watch no longer.")
@_JSON
def watch(job_id: str, timeout_s: float | None, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Show a job's progress until it has ended.

    Example: fornada jobs watch 20261123T154100-9f2c1e07ab
    """
    _finish(_watch(_client().job(job_id), timeout_s=timeout_s), as_json=as_json)


@jobs.command()
@click.argument("job_id", metavar="JOB")
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["npy", "parquet", "csv", "jsonl"]),
    default="jsonl",
    show_default=True,
)
@click.option("--output", type=click.Path(path_type=Path), help="File; jsonl and csv: or stdout.")
@click.option("--top-k", type=click.IntRange(1), default=3, show_default=True, help="Best classes.")
@click.option("--partial", is_flag=True, help="Also of a job that has not ended, or not well.")
def results(
    job_id: str,
    fmt: Format,
    output: Path | None,
    top_k: int,
    partial: bool,  # noqa: FBT001
) -> None:
    """Write a job's results: item id, label, best classes and all probabilities.

    Example: fornada jobs results 20261123T154100-9f2c1e07ab --format csv --output results.csv
    """
    job = _client().job(job_id)
    write_results(
        job.shard_results(partial=partial),
        path=output,
        fmt=fmt,
        classes=job.manifest.classes,
        item_count=job.manifest.item_count,
        top_k=top_k,
        model=str(job.manifest.model),
    )
    if output is not None:
        click.echo(f"wrote {job.manifest.item_count} results to {output}", err=True)


@jobs.command()
@click.argument("job_id", metavar="JOB")
@_JSON
def cancel(job_id: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Cancel a job; what is done stays readable.

    Example: fornada jobs cancel 20261123T154100-9f2c1e07ab
    """
    _print_status(
        _client().job(job_id).cancel("cancelled with `fornada jobs cancel`"), as_json=as_json
    )


def _client() -> Client:
    settings = Settings.from_env(os.environ)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    return Client.from_settings(settings)


def _console() -> Console:
    # A pipe has no width; a table cut off at 80 columns is of no use to a program.
    return Console(width=None if sys.stdout.isatty() else 200)


def _parse_tags(tags: Iterable[str]) -> dict[str, str]:
    parsed: dict[str, str] = {}
    for tag in tags:
        key, equals, value = tag.partition("=")
        if not key or not equals:
            raise UsageError(f"--tag {tag!r} is not KEY=VALUE")
        parsed[key] = value
    return parsed


def _watch(job: Job, *, timeout_s: float | None) -> JobStatus:
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


def _finish(status: JobStatus, *, as_json: bool) -> None:
    _print_status(status, as_json=as_json)
    if status.state != "SUCCEEDED":
        raise JobFailedError(
            f"job {status.job_id} ended {status.state}: {status.reason}; see "
            f"`fornada jobs results {status.job_id} --partial`"
        )


def _print_status(status: JobStatus, *, as_json: bool) -> None:
    if as_json:
        _print_json(_plain(status))
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
    _console().print(table)


def _plain(status: JobStatus) -> dict[str, Any]:
    """The status as JSON values."""
    plain = asdict(status)
    for name in ("created_at", "ended_at"):
        plain[name] = plain[name] and plain[name].isoformat()
    return plain


def _print_json(value: dict[str, Any]) -> None:
    click.echo(json.dumps(value))
