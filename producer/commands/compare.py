"""`fornada models compare`: two versions on the same items, computed by the workers.

It belongs to the producer, not to the model store: workers compute two jobs, so the command needs
neither Keras nor the artifacts.
"""

from dataclasses import asdict

import click

from fornada.commands.output import JSON_OPTION, print_json, print_table, say
from producer.commands.opening import own_client_from_env
from producer.commands.options import TIMEOUT_OPTION
from producer.commands.view import watch
from producer.comparison import Comparison, OutputComparison, compare_results, submit_both
from producer.inputs.arguments import inputs_of
from producer.item_results import Label

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
    client = own_client_from_env("fornada models compare")
    jobs = submit_both(client, lambda: inputs_of(inputs), first=first, second=second)
    for job in jobs:
        say(f"submitted job {job.id} on {job.manifest.model}", err=True)
    for job in jobs:
        watch(job, timeout_s=timeout_s)
    found = compare_results(*(job.results() for job in jobs))
    if as_json:
        print_json({"jobs": [job.id for job in jobs], **asdict(found)})
    else:
        _print(found)


def _print(found: Comparison) -> None:
    for output in found.outputs:
        if len(found.outputs) > 1:
            say(f"output {output.output!r}, {output.kind}:")
        _print_output(output, (found.first, found.second))


def _print_output(found: OutputComparison, models: tuple[str, str]) -> None:
    if found.classes:
        _print_classes(found, models)
    if found.values:
        _print_values(found, models)
    left_out = f", {found.items_left_out} left out" if found.items_left_out else ""
    reshaped = f", {found.shapes_differing} of another shape" if found.shapes_differing else ""
    say(f"{found.items} items{left_out}{reshaped}")
    if found.classes:
        say(f"{len(found.flips)} flips ({len(found.flips) / found.items:.2%})")
    for flip in found.flips[:_FLIPS_SHOWN]:
        say(f"  {flip.item_id}: {_text(flip.first)} → {_text(flip.second)}")
    if found.items:
        say(f"largest change {found.largest_change:.6f}, of {found.largest_change_item}")
        say(f"mean change {found.mean_change:.6f}")
    if found.mean_divergence is not None:
        say(
            f"KL divergence {found.mean_divergence:.6f} nats on average, "
            f"{found.largest_divergence:.6f} at most"
        )
    if found.cosine_distances is not None:
        distances = found.cosine_distances
        say(
            f"cosine distance {distances.mean:.6f} on average, {distances.largest:.6f} at most, "
            f"of {distances.largest_item}"
        )


def _text(label: Label) -> str:
    if isinstance(label, tuple):
        return ", ".join(label) or "no class"
    return str(label)


def _print_classes(found: OutputComparison, models: tuple[str, str]) -> None:
    rows = []
    for each in found.classes:
        counts = (each.items_first, each.items_second, each.flips_from, each.flips_to)
        rows.append((each.name, *counts, f"{each.largest_change:.6f}"))
    print_table(rows, header=("class", *models, "lost", "gained", "largest change"))


def _print_values(found: OutputComparison, models: tuple[str, str]) -> None:
    rows = []
    for each in found.values:
        numbers = (each.mean_first, each.mean_second, each.mean_change, each.largest_change)
        rows.append((each.name, *(f"{number:.6g}" for number in numbers)))
    means = (f"mean of {model}" for model in models)
    print_table(rows, header=("value", *means, "mean change", "largest change"))
