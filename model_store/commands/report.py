"""`fornada models report`: the training report of a version."""

import sys
import tempfile
import webbrowser
from pathlib import Path

import click

from fornada.commands.output import JSON_OPTION, print_json, say
from fornada.errors import LocalDiskError
from model_store.commands.reading import store_from_env
from model_store.export import export_report


@click.command()
@click.argument("model", metavar="NAME[:VERSION|@ALIAS]")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="A new or empty folder for the page and its figures. By default a temporary one.",
)
@click.option(
    "--open/--no-open",
    "open_page",
    default=None,
    help="Open the page in a browser. By default if stdout is a terminal.",
)
@JSON_OPTION
def report(
    model: str,
    output: Path | None,
    open_page: bool | None,  # noqa: FBT001 - click passes flags by name
    as_json: bool,  # noqa: FBT001
) -> None:
    """Copy a version's training report out of the store, check every byte, and open it.

    The page is self-contained; its figures are also written as PNG files.

    Example: fornada models report fashion-mnist@prod --output fashion-mnist-report
    """
    store = store_from_env()
    # Verified as before a load: opening a page in a browser takes as much trust.
    manifest = store.verified_manifest(store.resolve(model).pin)
    page, *figures = export_report(manifest, output or _temporary_folder(), models=store)
    shown = sys.stdout.isatty() and not as_json if open_page is None else open_page
    opened = shown and webbrowser.open(page.resolve().as_uri())
    if as_json:
        files = [str(path) for path in (page, *figures)]
        print_json({"model": str(manifest), "page": str(page), "files": files, "opened": opened})
        return
    for path in (page, *figures):
        say(path)
    if shown and not opened:
        say(f"no browser found; open {page} yourself", err=True)


def _temporary_folder() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="fornada-report-"))
    except OSError as exc:
        raise LocalDiskError(
            f"no temporary folder can be made ({exc.strerror or exc}); name one with --output"
        ) from exc
