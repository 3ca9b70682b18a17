"""`fornada queue`: what lay on the queue and is no message."""

import os

import click
from rich.table import Table
from rich.text import Text

from fornada.commands.output import JSON_OPTION, console, print_json
from fornada.queue.quarantine import Quarantine, printable
from fornada.settings import Settings


@click.group()
def queue() -> None:
    """See what workers found on the queue that is no message."""


@queue.group()
def quarantine() -> None:
    """List or drop what is no message."""


@quarantine.command("list")
@JSON_OPTION
def list_quarantined(as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """List the newest 1,000 elements of the queue that are no messages, with the reason.

    Example: fornada queue quarantine list
    """
    settings = Settings.from_env(os.environ)
    entries = Quarantine.from_settings(settings).entries()
    if as_json:
        found = [entry.model_dump(mode="json") for entry in entries]
        print_json({"queue": settings.queue, "quarantined": found})
        return
    table = Table("found", "bytes", "begins with", "reason", box=None)
    for entry in entries:
        table.add_row(
            f"{entry.at:%F %T}Z",
            str(entry.size_bytes),
            Text(entry.text[:60]),
            Text(printable(entry.reason)),
        )
    console().print(table if entries else "nothing in quarantine")


@quarantine.command()
@JSON_OPTION
def drop(as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Forget what is in quarantine.

    Example: fornada queue quarantine drop
    """
    settings = Settings.from_env(os.environ)
    count = Quarantine.from_settings(settings).drop()
    if as_json:
        print_json({"queue": settings.queue, "dropped": count})
        return
    click.echo(f"{count} dropped")
