"""`fornada jobs`."""

import os
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from fornada import logs
from fornada.commands.output import console
from fornada.settings import Settings
from producer.client import Client
from producer.commands.view import finish, plain, print_json, print_status, require_same
from producer.commands.view import watch as watch_job
from producer.exporting.files import Format, write_results
from producer.upkeep.retention import parse_age

JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")


@click.group()
def jobs() -> None:
    """List, show, watch and cancel jobs; fetch their results."""


@jobs.command("list")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Most jobs.")
@JSON_OPTION
def list_jobs(limit: int, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """List the newest jobs.

    Example: fornada jobs list --limit 10
    """
    statuses = client_from_env().jobs(limit=limit)
    if as_json:
        print_json({"jobs": [plain(status) for status in statuses]})
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
    console().print(table if statuses else "no jobs yet; `fornada submit` makes one")


@jobs.command()
@click.argument("job_id", metavar="JOB")
@JSON_OPTION
def show(job_id: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Show how a job stands: items, shards, attempts, times, and why shards are dead.

    Example: fornada jobs show 20261123T154100-9f2c1e07ab
    """
    job = client_from_env().job(job_id)
    status = job.status()
    dead = [] if status.shards_dead == 0 else list(job.dead_shards())
    print_status(status, dead=dead, as_json=as_json)


@jobs.command()
@JSON_OPTION
def backlog(as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Show what is still to be done, over all jobs: what to scale workers by.

    Example: fornada jobs backlog --json
    """
    found = client_from_env().backlog()
    if as_json:
        print_json(asdict(found) | {"total": asdict(found.total)})
        return
    table = Table("", "shards", "items", box=None)
    for name in ("waiting", "queued", "reserved", "running", "total"):
        amount = getattr(found, name)
        table.add_row(name, str(amount.shards), str(amount.items))
    console().print(table)


@jobs.command()
@click.argument("job_id", metavar="JOB")
@click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="Watch no longer.")
@JSON_OPTION
def watch(job_id: str, timeout_s: float | None, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Show a job's progress until it has ended.

    Example: fornada jobs watch 20261123T154100-9f2c1e07ab
    """
    finish(watch_job(client_from_env().job(job_id), timeout_s=timeout_s), as_json=as_json)


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
    """Write a job's results: item id, label, best classes and all probabilities, or values.

    Example: fornada jobs results 20261123T154100-9f2c1e07ab --format csv --output results.csv
    """
    job = client_from_env().job(job_id)
    write_results(
        job.shard_results(partial=partial),
        path=output,
        fmt=fmt,
        classes=job.manifest.classes,
        item_count=job.manifest.item_count,
        top_k=top_k,
        model=str(job.manifest.model),
        task=job.manifest.task,
    )
    if output is not None:
        click.echo(f"wrote {job.manifest.item_count} results to {output}", err=True)


@jobs.command()
@click.argument("job_id", metavar="JOB")
@JSON_OPTION
def cancel(job_id: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Cancel a job; what is done stays readable.

    Example: fornada jobs cancel 20261123T154100-9f2c1e07ab
    """
    status = client_from_env().job(job_id).cancel("cancelled with `fornada jobs cancel`")
    print_status(status, as_json=as_json)


@jobs.command()
@click.argument("job_id", metavar="JOB")
@JSON_OPTION
def resume(job_id: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Enqueue what a job still misses now, and not when the workers find it.

    Example: fornada jobs resume 20261123T154100-9f2c1e07ab
    """
    print_status(client_from_env().resume(job_id).status(), as_json=as_json)


@jobs.command("retry-failed")
@click.argument("job_id", metavar="JOB")
@click.option("--wait", is_flag=True, help="Stay until the new job has ended.")
@JSON_OPTION
def retry_failed(job_id: str, wait: bool, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Make a job of the shards that an ended job did not get done.

    Example: fornada jobs retry-failed 20261123T154100-9f2c1e07ab --wait
    """
    job = client_from_env().retry_failed(job_id)
    click.echo(f"submitted job {job.id}", err=True)
    if wait:
        finish(watch_job(job, timeout_s=None), as_json=as_json)
    else:
        print_status(job.status(), as_json=as_json)


@jobs.command()
@click.argument("job_id", metavar="JOB")
@click.option("--sample", type=click.IntRange(1), default=16, show_default=True, help="Shards.")
@click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="Wait no longer.")
@JSON_OPTION
def verify(job_id: str, sample: int, timeout_s: float | None, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Run shards of an ended job once more, and compare every byte.

    Exits 1 when one differs, and names the first value that does.

    Example: fornada jobs verify 20261123T154100-9f2c1e07ab --sample 4
    """
    found = client_from_env().verify(job_id, sample=sample, timeout_s=timeout_s)
    if as_json:
        print_json({"same": found.same, **asdict(found)})
    elif found.same:
        click.echo(f"{found.items} items in {found.shards} shards came out the same to the byte")
    require_same(found)


@jobs.command()
@click.option("--older-than", required=True, metavar="AGE", help="Such as 12h, 30d or 2w.")
@JSON_OPTION
def purge(older_than: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Delete jobs that ended longer ago, with images and results; open jobs stay.

    Example: fornada jobs purge --older-than 30d
    """
    purged = client_from_env().purge(parse_age(older_than))
    if as_json:
        print_json({"purged": purged})
    else:
        click.echo(f"deleted {len(purged)} jobs")


def client_from_env() -> Client:
    """The client of a command, and its log lines set up."""
    settings = Settings.from_env(os.environ)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    return Client.from_settings(settings)
