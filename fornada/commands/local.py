"""`fornada up` and `fornada demo`: the embedded stack, and the main job on it."""

import os
import shlex
import time
from functools import partial
from pathlib import Path

import click

from fornada import logs
from fornada.commands.output import JSON_OPTION, print_json, say
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
    help="Worker processes; 0 for the servers only.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".fornada"),
    show_default=True,
    help="Folder for all data and logs.",
)
def up(workers: int, data: Path) -> None:
    """Start Valkey, an S3 server, a gateway and workers, and keep them up until Ctrl-C.

    Prints the settings for other terminals and services, and writes them to DATA/env. Models and
    jobs are kept for the next start, which uses the same ports if they are free.

    Example: fornada up --workers 2
    """
    _configure_logs()
    _say_start(workers, data, err=True)
    with signals_interrupt():
        try:
            with _stack(data, workers) as stack:
                _announce(stack, workers=workers)
                while True:
                    stack.check()
                    time.sleep(_POLL_S)
        except KeyboardInterrupt:
            # The intended end of this command.
            say("stopped", err=True)


@click.command()
@JSON_OPTION
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("fornada-demo"),
    show_default=True,
    help="Folder for all data and logs.",
)
@click.option(
    "--workers", type=click.IntRange(1, 256), default=2, show_default=True, help="Worker processes."
)
@click.option(
    "--dataset", help="Data set to use. [default: fashion_mnist; digits if it cannot be downloaded]"
)
def demo(as_json: bool, data: Path, workers: int, dataset: str | None) -> None:  # noqa: FBT001 - click passes flags by name
    """Run the main job end to end: train, publish, submit, predict, compare.

    Everything runs on this machine in child processes. Each command is printed before it runs, so
    that you can repeat it.

    Example: fornada demo --workers 2
    """
    _configure_logs()
    _say_start(workers, data, err=as_json)
    with signals_interrupt(), _stack(data, workers) as stack:
        report = Demo(stack=stack, folder=data, say=partial(say, err=as_json)).run(dataset=dataset)
    if as_json:
        print_json(report)


def _stack(data: Path, workers: int) -> Stack:
    return Stack(data_dir=data, workers=workers, gateway=True, environ=os.environ)


def _configure_logs() -> None:
    settings = Settings.from_env(os.environ)
    logs.configure(level=settings.log_level, log_format=settings.log_format)


def _say_start(workers: int, data: Path, *, err: bool) -> None:
    processes = "1 worker process" if workers == 1 else f"{workers} worker processes"
    say(
        f"starting Valkey, an S3 server, a gateway and {processes}; "
        f"data is in {data}, logs are in {data / 'logs'}",
        err=err,
    )


def _announce_metrics(stack: Stack, *, workers: int) -> None:
    host, port = stack.settings.metrics_host, stack.settings.metrics_port
    if workers:
        where = f"http://{host}:{port}/metrics" if port else "at a port that their log names"
        say(f"metrics of the workers: {where}", err=True)
    if stack.gateway_url is not None:
        say(f"metrics of the gateway: {stack.gateway_url}/metrics, with FORNADA_API_KEY", err=True)


def _announce(stack: Stack, *, workers: int) -> None:
    environ = dict(stack.environ)
    if stack.gateway_url is not None:
        # Not FORNADA_URL, which would send commands there.
        environ["GATEWAY_URL"] = stack.gateway_url
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environ.items()]
    env_path = stack.data_dir / "env"
    write_private(env_path, "".join(f"{line}\n" for line in exports).encode())
    for line in exports:
        say(line)
    say(f"up; in another terminal: source {shlex.quote(str(env_path))}", err=True)
    if stack.gateway_url is not None:
        say(f"gateway and console: {stack.gateway_url}, with FORNADA_API_KEY", err=True)
    if stack.settings.metrics_port is not None:
        _announce_metrics(stack, workers=workers)
    say("Ctrl-C stops everything", err=True)
