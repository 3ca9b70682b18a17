"""The one door to the terminal: lines, tables, errors, and one JSON object with `--json`.

What others wrote passes it as text: no markup, and control characters as escapes.
"""

import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import click

from fornada.trust.printable import printable, printable_lines

if TYPE_CHECKING:
    from rich.console import Console

JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")


def say(
    text: object = "",
    *,
    label: str = "",
    colour: str | None = None,
    bold: bool = False,
    err: bool = False,
) -> None:
    """Print one line.

    Args:
        text: The line.
        label: Put in front, and coloured instead of the line.
        colour: Click's name of a colour.
        bold: Whether to print bold.
        err: Print to stderr.
    """
    shown = printable(str(text))
    if label:
        shown = click.style(printable(label), fg=colour, bold=bold or None) + shown
    elif colour or bold:
        shown = click.style(shown, fg=colour, bold=bold or None)
    click.echo(shown, err=err)


def say_error(message: object) -> None:
    """Print why a command failed, to stderr."""
    click.echo(f"error: {printable_lines(str(message))}", err=True)


def say_misuse(error: click.ClickException) -> None:
    """Print click's message about a call that is wrong, to stderr."""
    text = io.StringIO()
    error.show(text)
    for line in text.getvalue().splitlines():
        say(line, err=True)


def print_table(rows: Iterable[Sequence[object]], *, header: Sequence[object] = ()) -> None:
    """Print a table.

    Args:
        rows: The cells of each row.
        header: The columns' names, if the table shows them.
    """
    from rich.table import Table  # noqa: PLC0415 - most commands print no table
    from rich.text import Text  # noqa: PLC0415 - as above

    def cells(row: Sequence[object]) -> list[Text]:
        return [Text(printable(str(cell))) for cell in row]

    table = Table(box=None, show_header=bool(header))
    for name in cells(header):
        table.add_column(name)
    for row in rows:
        table.add_row(*cells(row))
    console().print(table)


def console(*, err: bool = False) -> "Console":
    """Stdout or stderr, as wide as the terminal; wide enough for whole lines where it is a pipe."""
    from rich.console import Console  # noqa: PLC0415 - most commands print no table

    stream = sys.stderr if err else sys.stdout
    return Console(width=None if stream.isatty() else 200, stderr=err)


def print_json(answer: Mapping[str, Any], *, indent: int | None = None) -> None:
    """Print the one JSON object of a command with `--json`."""
    click.echo(json.dumps(answer, indent=indent, sort_keys=indent is not None))


def text_stdout() -> IO[bytes]:
    """Stdout for files of text: their exact bytes, but on a terminal as `say` would print them."""
    return _Terminal(sys.stdout.buffer) if sys.stdout.isatty() else sys.stdout.buffer


class _Terminal(io.BytesIO):
    """A terminal that is written whole lines, UTF-8."""

    def __init__(self, terminal: IO[bytes]) -> None:
        super().__init__()
        self._terminal = terminal

    def write(self, data: Any, /) -> int:
        lines = bytes(data).decode(errors="backslashreplace").split("\n")
        shown = "\n".join(printable(line.removesuffix("\r")) for line in lines)
        return self._terminal.write(shown.encode())

    def flush(self) -> None:
        self._terminal.flush()
