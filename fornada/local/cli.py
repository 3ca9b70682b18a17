"""`fornada up` and `fornada demo`."""

import json
import os
import shlex
import time
from pathlib import Path

import click

from fornada import logs
from fornada.local.credentials import write_private
from fornada.local.demo import Demo
from fornada.local.signals import signals_interrupt
from fornada.local.stack import Stack
from fornada.settings import Settings

_POLL_S = 0.5


@click.command()
@click.option(
    "--workers",
    type=click.IntRange(0, 256),
    default=1,
    show_default=True,
    help="Worker processes; 0 for the servers alone.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".fornada"),
    show_default=True,
    help="Folder that keeps everything.",
)
def up(workers: int, data: Path) -> None:
    """Start Valkey, an S3 server and workers, and keep them up until Ctrl-C.

    Prints the settings that other terminals and services need, and writes them to DATA/env.
    Models and jobs are there again at the next start, on the same ports if they are free.

    Example: fornada up --workers 2
    """
    _configure_logs()
    _say_start(workers, data, err=True)
    with signals_interrupt():
        try:
            with Stack(data_dir=data, workers=workers, environ=os.environ) as stack:
                _announce(stack)
                while True:
                    stack.check()
                    time.sleep(_POLL_S)
        except KeyboardInterrupt:
            # How this command is meant to end.
            click.echo("stopped", err=True)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on stdout.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("fornada-demo"),
    show_default=True,
    help="Folder that keeps everything.",
)
@click.option(
    "--workers", type=click.IntRange(1, 256), default=2, show_default=True, help="Worker processes."
)
@click.option(
    "--dataset", help="Data set to use. [default: fashion_mnist; digits where it cannot be had]"
)
def demo(as_json: bool, data: Path, workers: int, dataset: str | None) -> None:  # noqa: FBT001 - click passes flags by name
    """Run the main job from end to end: train, publish, submit, predict, compare.

    Everything runs here and now, in child processes, and every command that runs is printed
    so that you can repeat it.

    Example: fornada demo --workers 2
    """
    _configure_logs()
    _say_start(workers, data, err=as_json)
    with signals_interrupt(), Stack(data_dir=data, workers=workers, environ=os.environ) as stack:
        report = Demo(stack=stack, folder=data, quiet=as_json).run(dataset=dataset)
    if as_json:
        click.echo(json.dumps(report))


def _configure_logs() -> None:
    settings = Settings.from_env(os.environ)
    logs.configure(level=settings.log_level, log_format=settings.log_format)


def _say_start(workers: int, data: Path, *, err: bool) -> None:
    processes = "1 worker process" if workers == 1 else f"{workers} worker processes"
    click.echo(
        f"starting Valkey, an S3 server and {processes}; "
        f"everything is kept in {data}, logs in {data / 'logs'}",
        err=err,
    )


def _announce(stack: Stack) -> None:
    exports = "".join(
        f"export {name}={shlex.quote(value)}\n" for name, value in stack.environ.items()
    )
    env_path = stack.data_dir / "env"
    write_private(env_path, exports.encode())
    click.echo(exports, nl=False)
    click.echo(
        f"up; in another terminal: source {shlex.quote(str(env_path))}\nCtrl-C stops everything",
        err=True,
    )
