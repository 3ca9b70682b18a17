"""`fornada models convert`: old Keras files become `.keras` files."""

import os
from pathlib import Path

import click

from fornada.commands.output import JSON_OPTION, print_json, say
from fornada.errors import UsageError
from fornada.settings import Settings


@click.command()
@click.argument("old", type=click.Path(path_type=Path), metavar="OLD")
@click.argument("new", type=click.Path(path_type=Path, dir_okay=False), metavar="NEW.keras")
@JSON_OPTION
def convert(old: Path, new: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Convert an .h5 file or a SavedModel folder with a Keras model to a .keras file.

    Loading such files may run code that they hold: only convert what you trust. The new file is
    checked as `publish` checks it.

    Example: fornada models convert old.h5 model.keras
    """
    from model_store import conversion  # noqa: PLC0415 - `--help` does not need it
    from model_store.safety.trust import Trust  # noqa: PLC0415 - as above

    if new.suffix != ".keras":
        raise UsageError(
            f"{new} does not end with .keras; name it {new.with_suffix('.keras').name}"
        )
    if new.exists():
        raise UsageError(f"{new} exists; remove it, or name another file")
    trust = Trust.from_settings(Settings.from_env(os.environ))
    conversion.convert(old, new, allowed_objects=trust.allowed_objects)
    size_bytes = new.stat().st_size
    if as_json:
        print_json({"old": str(old), "new": str(new), "size_bytes": size_bytes})
        return
    say(f"wrote {new}, {size_bytes} bytes; next: fornada models publish {new} --name MODEL")
