"""`fornada jobs drift`."""

from dataclasses import asdict

import click

from fornada.commands.output import JSON_OPTION, print_json, print_table, say
from fornada.figures.drift import Drift, OutputDrift
from fornada.figures.shifts import Shift
from producer.commands.opening import client_from_env
from producer.commands.options import JOB_ARGUMENT

_CLASSES_SHOWN = 10


@click.command()
@JOB_ARGUMENT
@click.option(
    "--against",
    metavar="JOB",
    help="Compare with this ended job, in place of the model's test items.",
)
@JSON_OPTION
def drift(job_id: str, against: str | None, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Compare what an ended job predicted with what its model predicted for its test items.

    The distance is the population stability index (PSI): below 0.1 stable, below 0.25 a moderate
    shift, from there on a large one; unclear where so few items may be as far apart by chance.

    Example: fornada jobs drift 20261123T154100-9f2c1e07ab --json
    """
    found = client_from_env().drift(job_id, against=against)
    if as_json:
        print_json(asdict(found))
        return
    _print(found)


def _print(found: Drift) -> None:
    say(f"job {found.job_id} on {found.model}, against {found.against}: {found.verdict}")
    for output in found.outputs:
        _print_output(output, named=len(found.outputs) > 1)


def _print_output(output: OutputDrift, *, named: bool) -> None:
    if named:
        say(f"output {output.output}:")
    means = f"mean {output.mean_confidence:.3f}, expected {output.expected_mean_confidence:.3f}"
    rows = [
        ("items", f"{output.items:,} here, {output.expected_items:,} expected"),
        ("confidence", f"{_text(output.confidence_shift)}; {means}"),
    ]
    if output.class_shift is not None:
        rows.insert(1, ("classes", _text(output.class_shift)))
    print_table(rows)
    moved = sorted(output.classes, key=lambda each: -abs(each.share - each.expected))
    if moved:
        shares = ((each.name, f"{each.share:.1%}", f"{each.expected:.1%}") for each in moved)
        print_table(list(shares)[:_CLASSES_SHOWN], header=("class", "here", "expected"))
    if len(moved) > _CLASSES_SHOWN:
        say(f"and {len(moved) - _CLASSES_SHOWN} classes that moved less, see --json")


def _text(shift: Shift) -> str:
    chance = f", by chance up to {shift.by_chance:.3f}" if shift.verdict == "unclear" else ""
    return f"{shift.verdict}, PSI {shift.psi:.3f}{chance}"
