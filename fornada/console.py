"""Where the commands print their tables."""

import sys

from rich.console import Console


def console() -> Console:
    """Stdout. A pipe has no width; a table cut off at 80 columns is of no use to a program."""
    return Console(width=None if sys.stdout.isatty() else 200)
