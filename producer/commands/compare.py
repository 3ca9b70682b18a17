"""`fornada models compare`: two versions on the same items, computed by the workers.

It is the producer's, not the model store's: the workers have the models, the engine and the items'
way to them, so two jobs do it, and whoever compares needs neither Keras nor the artifacts.
"""

from dataclasses import asdict

import click
from rich.table import Table
from rich.text import Text

from fornada.commands.output import console
from fornada.errors import UsageError
from producer.commands.jobs import JSON_OPTION, client_from_env
from producer.commands.view import print_json, watch
from producer.comparison import Comparison, compare_results, submit_both
from producer.inputs.paths import read_blocks
from producer.inputs.stored_images import StoredImages
from producer.submitting.submission import Images

#: Images read from files are handed on in blocks of about this size.
_BLOCK_BYTES = 16 * 1024 * 1024
_FLIPS_SHOWN = 10


@click.command()
@click.argument("first", metavar="NAME[:VERSION|@ALIAS]")
@click.argument("second", metavar="NAME[:VERSION|@ALIAS]")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    required=True,
    metavar="INPUT",
    help="As `fornada submit` takes them; several: all.",
)
@click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="Wait no longer.")
@JSON_OPTION
def compare(
    first: str,
    second: str,
    inputs: tuple[str, ...],
    timeout_s: float | None,
    as_json: bool,  # noqa: FBT001 - click passes flags by name
) -> None:
    """Run two versions on the same items, as two jobs on the workers, and show where they part.

    So a version that is not promoted yet is tried beside the one that is, on the same machines.

    Example: fornada models compare fashion-mnist@prod fashion-mnist:2 --input photos/
    """
    client = client_from_env()
    shape = client.model(first).item_shape
    if len(inputs) > 1 and any(each.startswith("s3://") for each in inputs):
        raise UsageError("give one s3:// prefix alone, or local files; compare the rest apart")

    def images() -> Images:
        if inputs[0].startswith("s3://"):
            return StoredImages.parse(inputs[0])
        return read_blocks(inputs, item_shape=shape, max_block_bytes=_BLOCK_BYTES)

    jobs = submit_both(client, images, first=first, second=second)
    for job in jobs:
        click.echo(f"submitted job {job.id} on {job.manifest.model}", err=True)
    for job in jobs:
        watch(job, timeout_s=timeout_s)
    found = compare_results(*(job.results() for job in jobs))
    if as_json:
        print_json({"jobs": [job.id for job in jobs], **asdict(found)})
    else:
        _print(found)


def _print(found: Comparison) -> None:
    console().print(_class_table(found) if found.task == "classification" else _value_table(found))
    left_out = f", {found.items_left_out} left out" if found.items_left_out else ""
    click.echo(f"{found.items} items{left_out}")
    if found.task == "classification":
        click.echo(f"{len(found.flips)} flips ({len(found.flips) / found.items:.2%})")
    for flip in found.flips[:_FLIPS_SHOWN]:
        click.echo(f"  {flip.item_id}: {flip.first} → {flip.second}")
    click.echo(f"largest change {found.largest_change:.6f}, of {found.largest_change_item}")
    click.echo(f"mean change {found.mean_change:.6f}")
    if found.mean_divergence is not None:
        click.echo(
            f"KL divergence {found.mean_divergence:.6f} nats in the mean, "
            f"{found.largest_divergence:.6f} at most"
        )


def _class_table(found: Comparison) -> Table:
    table = Table("class", found.first, found.second, "left", "came", "largest change", box=None)
    for each in found.classes:
        counts = (each.items_first, each.items_second, each.flips_from, each.flips_to)
        table.add_row(Text(each.name), *map(str, counts), f"{each.largest_change:.6f}")
    return table


def _value_table(found: Comparison) -> Table:
    means = (f"mean of {model}" for model in (found.first, found.second))
    table = Table("value", *means, "mean change", "largest change", box=None)
    for each in found.values:
        numbers = (each.mean_first, each.mean_second, each.mean_change, each.largest_change)
        table.add_row(Text(each.name), *(f"{number:.6g}" for number in numbers))
    return table
