"""What every command prints through: tables on one console, and one JSON object with `--json`."""

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")


def console() -> "Console":
    """Stdout, as wide as the terminal; wide enough for whole lines where it is a pipe."""
    from rich.console import Console  # noqa: PLC0415 - most commands print no table

    return Console(width=None if sys.stdout.isatty() else 200)


def print_json(answer: Mapping[str, Any]) -> None:
    """Print the one JSON object of a command with `--json`."""
    click.echo(json.dumps(answer))
