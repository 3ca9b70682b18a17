"""What commands print: tables, and one JSON object with `--json`."""

import json
import sys
from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console


def console() -> Console:
    """Stdout. A pipe has no width; a table cut off at 80 columns is of no use to a program."""
    return Console(width=None if sys.stdout.isatty() else 200)


JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")


def print_json(answer: Mapping[str, Any]) -> None:
    """Print the one JSON object of a command with `--json`."""
    click.echo(json.dumps(answer))
