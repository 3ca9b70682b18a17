"""`fornada jobs`."""

from dataclasses import asdict

import click

from fornada.commands.output import JSON_OPTION, print_json, print_table, say, text_stdout
from fornada.trust.printable import printable_json
from producer.commands.drift import drift
from producer.commands.opening import client_from_env, own_client_from_env
from producer.commands.options import JOB_ARGUMENT, RAW_OPTION, TIMEOUT_OPTION
from producer.commands.results import results
from producer.commands.view import finish, plain, print_status, require_same
from producer.commands.view import watch as watch_job
from producer.exporting.formats.csv_file import csv_lines
from producer.exporting.rows import encoded
from producer.job_reader import FailedItem
from producer.upkeep.retention import parse_age


@click.group()
def jobs() -> None:
    """List, show, watch, cancel and repeat jobs; fetch their results."""


jobs.add_command(results)
jobs.add_command(drift)


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

    Of an ended job also CPU time, bytes, cost, and what was predicted how surely.

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
        print_json(asdict(found) | {"total": asdict(found.total), "work": found.work})
        return
    counts = {
        name: getattr(found, name) for name in ("waiting", "queued", "reserved", "running", "total")
    }
    rows = ((name, count.shards, count.items) for name, count in counts.items())
    print_table(rows, header=("", "shards", "items"))
    if found.calls:
        verb = "call of predict waits" if found.calls == 1 else "calls of predict wait"
        say(f"{found.calls} {verb} for a worker")


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
    "--format", "fmt", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True
)
@RAW_OPTION
def errors(job_id: str, fmt: str, is_raw: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """List a job's failed items: number, id and reason.

    Example: fornada jobs errors 20261123T154100-9f2c1e07ab --format csv
    """
    failed = client_from_env().job(job_id).item_errors()
    stream = text_stdout()
    if fmt == "csv":
        stream.write(csv_lines([FailedItem._fields], is_raw=is_raw))
    for item in failed:
        line = (
            csv_lines([item], is_raw=is_raw)
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
    left_out = source.items - (source.items_ok or 0) - job.item_count
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
    purged = own_client_from_env("fornada jobs purge").purge(parse_age(older_than))
    if as_json:
        print_json({"purged": purged})
    else:
        say(f"deleted {len(purged)} jobs")
