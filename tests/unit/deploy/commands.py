"""Commands of `fornada` that manifests and pages name."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from fornada.commands.router import root


def commands_in(page: Path) -> Iterator[list[str]]:
    """The arguments of every `fornada` command in the shell blocks of a page."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
        for command in re.findall(r"(?:^|-- )fornada ([^|)\n]+)", block, re.MULTILINE):
            yield shlex.split(command)


def check_command(arguments: list[str]) -> None:
    """Check that `fornada` takes the arguments, without running anything."""
    command: click.Command = root
    context = click.Context(command)
    while isinstance(command, click.Group):
        _, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command, context = found, click.Context(found, parent=context)
    command.parse_args(context, list(arguments))
