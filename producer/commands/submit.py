"""`fornada submit`."""

from collections.abc import Iterable
from csv import reader
from typing import Any

import click

from fornada.commands.output import JSON_OPTION, say
from fornada.errors import UsageError
from model_store.commands.images import given_image, image_options
from producer.commands.opening import client_from_env
from producer.commands.options import TIMEOUT_OPTION
from producer.commands.view import finish, print_status, watch
from producer.inputs.arguments import inputs_of
from producer.inputs.interface import Selection


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--model", required=True, metavar="NAME[:VERSION|@ALIAS]", help="The model.")
@click.option("--items-per-shard", type=click.IntRange(1), help="Items in a shard.")
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Your name for the job, which `fornada jobs` takes as its id; makes repeating safe.",
)
@click.option(
    "--deadline",
    "deadline_s",
    type=float,
    metavar="SECONDS",
    help="Begin no shard after this; 7 days by default.",
)
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Kept with the job; repeatable."
)
@click.option(
    "--max-failed",
    metavar="COUNT|PERCENT%",
    help="Items that may fail, such as 10 or 5%; with --wait, PARTIAL exits 0 then.",
)
@click.option("--strict", is_flag=True, help="Refuse everything for one bad item.")
@click.option("--include", multiple=True, metavar="GLOB", help="Take only these files; repeatable.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these files out; repeatable.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="INPUT=COLUMN[,COLUMN...]",
    help="The column of a table that is an input, or several side by side; repeatable.",
)
@click.option("--id-column", metavar="COLUMN", help="The column of a table with the items' ids.")
@image_options(with_size=False)
@click.option("--wait", "wait", is_flag=True, help="Wait until the job ends.")
@TIMEOUT_OPTION
@JSON_OPTION
def submit(  # noqa: PLR0917 - click passes options by name
    inputs: tuple[str, ...],
    model: str,
    items_per_shard: int | None,
    idempotency_key: str | None,
    deadline_s: float | None,
    tags: tuple[str, ...],
    max_failed: str | None,
    strict: bool,  # noqa: FBT001
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    columns: tuple[str, ...],
    id_column: str | None,
    wait: bool,  # noqa: FBT001
    timeout_s: float | None,
    as_json: bool,  # noqa: FBT001
    **image: Any,
) -> None:
    """Submit items as a job: images, rows of a table, vectors, texts or token sequences.

    INPUT is an image, a Parquet, CSV, JSON lines or Arrow file, a .npy, .npz, .safetensors or IDX
    file, a .txt file with an item a line, a .tar, .tar.gz or .zip of images, a folder of those, in
    which a .txt file is an item, a glob, or one s3://BUCKET/PREFIX whose objects, .tar and .parquet
    too, are read in place. Other files in folders, globs and archives are left out, and listed. A
    model's inputs take a table's columns of their names, or those of --column.

    Images become items as the model's manifest says; --resize to --like change that for this job.

    Example: fornada submit photos/ --model fashion-mnist@prod --wait

    Example: fornada submit customers.parquet --model churn@prod --id-column customer
    """
    client = client_from_env()
    images = inputs_of(inputs, Selection(include=include, exclude=exclude))
    job = client.submit(
        images,
        model=model,
        idempotency_key=idempotency_key,
        items_per_shard=items_per_shard,
        deadline_s=deadline_s,
        max_failed=int(max_failed) if max_failed and max_failed.isdecimal() else max_failed,
        strict=strict,
        tags=_parse_tags(tags),
        image=given_image(**image),
        columns=_parse_columns(columns),
        id_column=id_column,
    )
    left_out = images.left_out
    if not wait:
        print_status(job.status(), left_out=left_out, as_json=as_json)
        return
    say(f"submitted job {job.id}", err=True)
    finish(job, watch(job, timeout_s=timeout_s), left_out=left_out, as_json=as_json)


def _parse_columns(columns: Iterable[str]) -> dict[str, list[str]] | None:
    parsed: dict[str, list[str]] = {}
    for column in columns:
        name, equals, value = column.partition("=")
        # Commas in a name are quoted, as in a table's header.
        names = next(reader([value]), [])
        if not name or not equals or not all(names) or not names:
            raise UsageError(f"--column {column!r} is not INPUT=COLUMN or INPUT=COLUMN,COLUMN,...")
        if name in parsed:
            raise UsageError(f"--column names {name!r} twice; give its columns with commas between")
        parsed[name] = names
    return parsed or None


def _parse_tags(tags: Iterable[str]) -> dict[str, str]:
    parsed: dict[str, str] = {}
    for tag in tags:
        key, equals, value = tag.partition("=")
        if not key or not equals:
            raise UsageError(f"--tag {tag!r} is not KEY=VALUE")
        parsed[key] = value
    return parsed
