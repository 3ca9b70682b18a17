"""`fornada models compare`: two versions on the same items, computed by the workers.

It belongs to the producer, not to the model store: workers compute two jobs, so the command needs
neither Keras nor the artifacts.
"""

from dataclasses import asdict

import click
from rich.table import Table
from rich.text import Text

from fornada.commands.output import JSON_OPTION, console, print_json
from producer.commands.opening import client_from_env
from producer.commands.options import TIMEOUT_OPTION
from producer.commands.view import watch
from producer.comparison import Comparison, compare_results, submit_both
from producer.inputs.arguments import inputs_of
from producer.results import Label

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
    help="As for `fornada submit`; repeatable.",
)
@TIMEOUT_OPTION
@JSON_OPTION
def compare(
    first: str,
    second: str,
    inputs: tuple[str, ...],
    timeout_s: float | None,
    as_json: bool,  # noqa: FBT001 - click passes flags by name
) -> None:
    """Run two versions on the same items, as two jobs, and show where they differ.

    This tries a version before it is promoted, beside the promoted one and on the same machines.

    Example: fornada models compare fashion-mnist@prod fashion-mnist:2 --input photos/
    """
    client = client_from_env()
    jobs = submit_both(client, lambda: inputs_of(inputs), first=first, second=second)
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
    if found.classes:
        console().print(_class_table(found))
    if found.values:
        console().print(_value_table(found))
    left_out = f", {found.items_left_out} left out" if found.items_left_out else ""
    click.echo(f"{found.items} items{left_out}")
    if found.classes:
        click.echo(f"{len(found.flips)} flips ({len(found.flips) / found.items:.2%})")
    for flip in found.flips[:_FLIPS_SHOWN]:
        click.echo(f"  {flip.item_id}: {_text(flip.first)} → {_text(flip.second)}")
    click.echo(f"largest change {found.largest_change:.6f}, of {found.largest_change_item}")
    click.echo(f"mean change {found.mean_change:.6f}")
    if found.mean_divergence is not None:
        click.echo(
            f"KL divergence {found.mean_divergence:.6f} nats on average, "
            f"{found.largest_divergence:.6f} at most"
        )
    if found.cosine_distances is not None:
        distances = found.cosine_distances
        click.echo(
            f"cosine distance {distances.mean:.6f} on average, {distances.largest:.6f} at most, "
            f"of {distances.largest_item}"
        )


def _text(label: Label) -> str:
    if isinstance(label, tuple):
        return ", ".join(label) or "no class"
    return str(label)


def _class_table(found: Comparison) -> Table:
    table = Table("class", found.first, found.second, "lost", "gained", "largest change", box=None)
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
