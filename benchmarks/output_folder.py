"""The folder that a command writes to: there before the work begins, not after it."""

from pathlib import Path

import click


class OutputFolder(click.Path):
    """A folder as an option or argument, created if it does not exist."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """The folder; wrong usage if it cannot be written to."""
        folder = Path(str(super().convert(value, param, ctx)))  # type: ignore[arg-type]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            self.fail(f"{folder} cannot be created: {exc.strerror}", param, ctx)
        click.Path(writable=True).convert(folder, param, ctx)
        return folder
