"""`fornada jobs results`."""

from collections.abc import Sequence
from csv import reader
from pathlib import Path

import click

from fornada.commands.output import say
from fornada.errors import UsageError
from producer.commands.opening import client_from_env
from producer.commands.options import JOB_ARGUMENT, RAW_OPTION
from producer.exporting.carried import with_carried
from producer.exporting.catalog import FORMATS
from producer.exporting.files import save_results, write_results
from producer.exporting.interface import Export
from producer.exporting.rows import Column
from producer.job import Job
from producer.remote.job import RemoteJob


@click.command()
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
@RAW_OPTION
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
    is_raw: bool,  # noqa: FBT001 - as above
    partial: bool,  # noqa: FBT001 - as above
) -> None:
    """Write a job's results by item id: labels, probabilities, values, embeddings, tensors.

    Example: fornada jobs results 20261123T154100-9f2c1e07ab --format csv --output results.csv
    """
    names = next(reader([with_columns])) if with_columns else []
    if tables and not names:
        raise UsageError("--table goes with --with-columns; name the columns that you need")
    if by_shard and (output is not None or is_raw):
        raise UsageError("--by-shard writes into the store; leave --output and --raw out")
    job = client_from_env().job(job_id)
    if isinstance(job, RemoteJob):
        if names or by_shard or is_raw:
            raise UsageError(
                "a gateway carries no columns, quotes cells and writes no shards; leave "
                "--with-columns, --raw and --by-shard out, or unset FORNADA_URL"
            )
        parts = job.results(fmt, top_k=top_k, partial=partial)
        written = save_results(parts, path=output, fmt=fmt)
    elif by_shard:
        prefix = job.store_results(fmt, top_k=top_k, columns=names, paths=tables, partial=partial)
        say(f"wrote {job.item_count} results below {prefix}", err=True)
        return
    else:
        export = _export(job, names, tables, top_k=top_k, is_raw=is_raw, partial=partial)
        written = write_results(export, path=output, fmt=fmt)
    if written:
        first, *beside = map(str, written)
        ids = "".join(f", and their ids to {path}" for path in beside)
        say(f"wrote {job.item_count} results to {first}{ids}", err=True)


def _export(
    job: Job,
    names: Sequence[str],
    tables: Sequence[Path],
    *,
    top_k: int | None,
    is_raw: bool,
    partial: bool,
) -> Export:
    """The results, with the columns that are carried along."""
    carried: tuple[Column, ...] = ()
    parts = job.shard_results(partial=partial)
    if names:
        carried, parts = with_carried(parts, job.carried_columns(names, paths=tables))
    return Export(
        parts=parts,
        carried=carried,
        item_count=job.item_count,
        gives=job.manifest.gives,
        model=str(job.manifest.model),
        top_k=top_k,
        is_raw=is_raw,
    )
