"""`fornada queue`: what lay on the queue and is no message."""

import os

import click

from fornada.commands.output import JSON_OPTION, print_json, print_table, say
from fornada.queue.quarantine import Quarantine
from fornada.settings import Settings

#: Characters of each that a list shows; all that is kept is in `--json`.
_SHOWN = 60


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
    settings = _settings()
    entries = Quarantine.from_settings(settings).entries()
    if as_json:
        found = [entry.model_dump(mode="json") for entry in entries]
        print_json({"queue": settings.queue, "quarantined": found})
        return
    if not entries:
        say("nothing in quarantine")
        return
    print_table(
        [(f"{e.at:%F %T}Z", e.size_bytes, e.text[:_SHOWN], e.reason) for e in entries],
        header=("found", "bytes", "begins with", "reason"),
    )


@quarantine.command()
@JSON_OPTION
def drop(as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Forget what is in quarantine.

    Example: fornada queue quarantine drop
    """
    settings = _settings()
    count = Quarantine.from_settings(settings).drop()
    if as_json:
        print_json({"queue": settings.queue, "dropped": count})
        return
    say(f"{count} dropped")


def _settings() -> Settings:
    settings = Settings.from_env(os.environ)
    settings.require_deployment(f"`{click.get_current_context().command_path}`")
    return settings
