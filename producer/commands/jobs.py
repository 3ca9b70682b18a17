"""`fornada jobs`."""

from csv import reader
from dataclasses import asdict
from pathlib import Path

import click

from fornada.commands.output import JSON_OPTION, print_json, print_table, say, text_stdout
from fornada.errors import UsageError
from fornada.trust.printable import printable_json
from producer.commands.opening import client_from_env
from producer.commands.options import JOB_ARGUMENT, TIMEOUT_OPTION
from producer.commands.view import finish, plain, print_status, require_same
from producer.commands.view import watch as watch_job
from producer.exporting.carried import with_carried
from producer.exporting.catalog import FORMATS
from producer.exporting.csv_file import csv_lines
from producer.exporting.files import write_results
from producer.exporting.interface import Export
from producer.exporting.rows import Column, encoded
from producer.job import FailedItem
from producer.upkeep.retention import parse_age

_RAW = "Put no ' before CSV cells that a spreadsheet would run as formulas."


@click.group()
def jobs() -> None:
    """List, show, watch, cancel and repeat jobs; fetch their results."""


@jobs.command("list")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many.")
@JSON_OPTION
def list_jobs(limit: int, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """List the newest jobs.

    Example: fornada jobs list --limit 10
    """
    statuses = client_from_env().jobs(limit=limit)
    if as_json:
        print_json({"jobs": [plain(status) for status in statuses]})
        return
    if not statuses:
        say("no jobs yet; `fornada submit` makes one")
        return
    rows = (
        (
            status.job_id,
            status.state,
            status.model,
            f"{status.items_done}/{status.items}",
            f"{status.shards_done}/{status.shards}",
            f"{status.created_at:%F %T}Z",
        )
        for status in statuses
    )
    print_table(rows, header=("job", "state", "model", "items", "shards", "submitted"))


@jobs.command()
@JOB_ARGUMENT
@JSON_OPTION
def show(job_id: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Show a job's state: items, shards, attempts, times, and why shards are dead.

    Example: fornada jobs show 20261123T154100-9f2c1e07ab
    """
    job = client_from_env().job(job_id)
    status = job.status()
    dead = [] if status.shards_dead == 0 else list(job.dead_shards())
    print_status(status, dead=dead, as_json=as_json)


@jobs.command()
@JSON_OPTION
def backlog(as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Show the unfinished work of all jobs, to scale workers by.

    Example: fornada jobs backlog --json
    """
    found = client_from_env().backlog()
    if as_json:
        print_json(asdict(found) | {"total": asdict(found.total)})
        return
    counts = {
        name: getattr(found, name) for name in ("waiting", "queued", "reserved", "running", "total")
    }
    rows = ((name, count.shards, count.items) for name, count in counts.items())
    print_table(rows, header=("", "shards", "items"))


@jobs.command()
@JOB_ARGUMENT
@TIMEOUT_OPTION
@JSON_OPTION
def watch(job_id: str, timeout_s: float | None, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Show a job's progress until it ends.

    Example: fornada jobs watch 20261123T154100-9f2c1e07ab
    """
    job = client_from_env().job(job_id)
    finish(job, watch_job(job, timeout_s=timeout_s), as_json=as_json)


@jobs.command()
@JOB_ARGUMENT
@click.option(
    "--format", "fmt", type=click.Choice(list(FORMATS)), default="jsonl", show_default=True
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="File; text formats: stdout by default."
)
@click.option(
    "--top-k",
    type=click.IntRange(1),
    help="Likeliest classes to list, where the model gives probabilities of classes; 3 by default.",
)
@click.option(
    "--with-columns",
    metavar="COLUMN[,COLUMN...]",
    help="Columns of the table that the items came from, beside the results.",
)
@click.option(
    "--table",
    "tables",
    multiple=True,
    type=click.Path(path_type=Path),
    help="That table, unless it is in the store; repeatable, as it was submitted.",
)
@click.option(
    "--by-shard", is_flag=True, help="Write a file a shard into the store, under the job's prefix."
)
@click.option("--raw", is_flag=True, help=_RAW)
@click.option(
    "--partial",
    is_flag=True,
    help="Accept a job that is open, or ended FAILED, CANCELLED or EXPIRED.",
)
def results(  # noqa: PLR0917 - click passes options by name
    job_id: str,
    fmt: str,
    output: Path | None,
    top_k: int | None,
    with_columns: str | None,
    tables: tuple[Path, ...],
    by_shard: bool,  # noqa: FBT001 - click passes flags by name
    raw: bool,  # noqa: FBT001 - as above
    partial: bool,  # noqa: FBT001 - as above
) -> None:
    """Write a job's results by item id: labels, probabilities, values, embeddings, tensors.

    Example: fornada jobs results 20261123T154100-9f2c1e07ab --format csv --output results.csv
    """
    job = client_from_env().job(job_id)
    names = next(reader([with_columns])) if with_columns else []
    if tables and not names:
        raise UsageError("--table goes with --with-columns; name the columns that you need")
    if by_shard:
        if output is not None or raw:
            raise UsageError("--by-shard writes into the store; leave --output and --raw out")
        prefix = job.store_results(fmt, top_k=top_k, columns=names, paths=tables, partial=partial)
        say(f"wrote {job.manifest.item_count} results below {prefix}", err=True)
        return
    carried: tuple[Column, ...] = ()
    parts = job.shard_results(partial=partial)
    if names:
        carried, parts = with_carried(parts, job.carried_columns(names, paths=tables))
    export = Export(
        parts=parts,
        carried=carried,
        item_count=job.manifest.item_count,
        gives=job.manifest.gives,
        model=str(job.manifest.model),
        top_k=top_k,
        is_raw=raw,
    )
    written = write_results(export, path=output, fmt=fmt)
    if written:
        first, *beside = map(str, written)
        ids = "".join(f", and their ids to {path}" for path in beside)
        say(f"wrote {job.manifest.item_count} results to {first}{ids}", err=True)


@jobs.command()
@JOB_ARGUMENT
@click.option(
    "--format", "fmt", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True
)
@click.option("--raw", is_flag=True, help=_RAW)
def errors(job_id: str, fmt: str, raw: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """List a job's failed items: number, id and reason.

    Example: fornada jobs errors 20261123T154100-9f2c1e07ab --format csv
    """
    failed = client_from_env().job(job_id).item_errors()
    stream = text_stdout()
    if fmt == "csv":
        stream.write(csv_lines([FailedItem._fields], is_raw=raw))
    for item in failed:
        line = (
            csv_lines([item], is_raw=raw)
            if fmt == "csv"
            else encoded(printable_json(item._asdict()) + "\n")
        )
        stream.write(line)
    stream.flush()


@jobs.command()
@JOB_ARGUMENT
@JSON_OPTION
def cancel(job_id: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Cancel a job; finished shards stay readable.

    Example: fornada jobs cancel 20261123T154100-9f2c1e07ab
    """
    status = client_from_env().job(job_id).cancel("cancelled with `fornada jobs cancel`")
    print_status(status, as_json=as_json)


@jobs.command()
@JOB_ARGUMENT
@JSON_OPTION
def resume(job_id: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Enqueue the lost shards of a job now, before the workers notice.

    Example: fornada jobs resume 20261123T154100-9f2c1e07ab
    """
    print_status(client_from_env().resume(job_id).status(), as_json=as_json)


@jobs.command("retry-failed")
@JOB_ARGUMENT
@click.option("--wait", is_flag=True, help="Wait until the new job ends.")
@JSON_OPTION
def retry_failed(job_id: str, wait: bool, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Run the failed items of an ended job again, and its missing shards, as a new job.

    Example: fornada jobs retry-failed 20261123T154100-9f2c1e07ab --wait
    """
    client = client_from_env()
    job = client.retry_failed(job_id)
    say(f"submitted job {job.id}", err=True)
    source = client.job(job_id).status()
    left_out = source.items - (source.items_ok or 0) - job.manifest.item_count
    if left_out > 0:
        say(
            f"left out {left_out} item{'' if left_out == 1 else 's'} that could not be read at "
            f"submission; `fornada jobs errors {job_id}` lists them, to mend and submit",
            err=True,
        )
    if wait:
        finish(job, watch_job(job, timeout_s=None), as_json=as_json)
    else:
        print_status(job.status(), as_json=as_json)


@jobs.command()
@JOB_ARGUMENT
@click.option(
    "--sample", type=click.IntRange(1), default=16, show_default=True, help="Shards to compute."
)
@TIMEOUT_OPTION
@JSON_OPTION
def verify(job_id: str, sample: int, timeout_s: float | None, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Compute shards of an ended job again and compare every byte.

    Exits with 1 if one differs, and names the first value that does.

    Example: fornada jobs verify 20261123T154100-9f2c1e07ab --sample 4
    """
    found = client_from_env().verify(job_id, sample=sample, timeout_s=timeout_s)
    if as_json:
        print_json({"same": found.same, **asdict(found)})
    elif found.same:
        shards = f"{found.shards} shard{'' if found.shards == 1 else 's'}"
        say(f"{found.items} items in {shards} are the same to the byte")
    require_same(found)


@jobs.command()
@click.option("--older-than", required=True, metavar="AGE", help="Such as 12h, 30d or 2w.")
@JSON_OPTION
def purge(older_than: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Delete jobs that ended more than AGE ago, with items and results.

    Example: fornada jobs purge --older-than 30d
    """
    purged = client_from_env().purge(parse_age(older_than))
    if as_json:
        print_json({"purged": purged})
    else:
        say(f"deleted {len(purged)} jobs")
