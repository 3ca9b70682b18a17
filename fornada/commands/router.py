"""The `fornada` command: a router that imports each command only when it is called."""

import atexit
import errno
import gc
import importlib
import os
import sys
from dataclasses import dataclass
from typing import Any

import click

from fornada import __version__
from fornada.commands.output import print_json, say_error, say_misuse
from fornada.errors import FornadaError


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a command is, and its line in `--help`, so that the listing imports nothing."""

    module: str
    attribute: str
    summary: str


#: In the order in which a new user needs them.
_COMMANDS = {
    "demo": _Target(
        "fornada.commands.local", "demo", "Run the main job end to end on this machine."
    ),
    "up": _Target("fornada.commands.local", "up", "Start the embedded stack and keep it up."),
    "dataset": _Target("trainer.commands.datasets", "dataset", "Write a data set as .npy files."),
    "train": _Target("trainer.commands.training", "train", "Train a model and publish it."),
    "evaluate": _Target(
        "trainer.commands.evaluating", "evaluate", "Compare results with the labels."
    ),
    "models": _Target(
        "fornada.commands.router", "models", "Publish, list, compare, promote models."
    ),
    "worker": _Target("worker.cli", "worker", "Run workers that predict queued jobs."),
    "submit": _Target("producer.commands.submit", "submit", "Submit items as a job."),
    "predict": _Target("producer.commands.predict", "predict", "Predict a few items now."),
    "jobs": _Target("producer.commands.jobs", "jobs", "List, show, cancel jobs; fetch results."),
    "gateway": _Target(
        "gateway.commands.serving", "gateway", "Serve jobs, models and predictions over HTTP."
    ),
    "keys": _Target("gateway.commands.api_keys", "keys", "Make and revoke the gateway's API keys."),
    "queue": _Target(
        "fornada.commands.queue", "queue", "See what lay on the queue and is no message."
    ),
    "doctor": _Target(
        "fornada.commands.doctor.command", "doctor", "Check settings, broker, store and model."
    ),
    "schemas": _Target(
        "fornada.commands.router", "schemas", "Print the JSON Schemas of all messages."
    ),
}

#: In the order of a model's life; of several packages, since only some need Keras or Celery.
_MODELS_COMMANDS = {
    "list": _Target(
        "producer.commands.models", "list_models", "List all models with their aliases."
    ),
    "show": _Target(
        "model_store.commands.reading", "show", "Show one version, and its aliases' history."
    ),
    "publish": _Target("model_store.commands.publishing", "publish", "Publish a .keras file."),
    "convert": _Target(
        "model_store.commands.converting", "convert", "Convert an .h5 or SavedModel to .keras."
    ),
    "set-image": _Target(
        "model_store.commands.images", "set_image_command", "Change how images become items."
    ),
    "sign": _Target("model_store.commands.changing", "sign", "Sign a version with a private key."),
    "report": _Target(
        "model_store.commands.report", "report", "Open or export the training report."
    ),
    "verify": _Target("model_store.commands.reading", "verify", "Check every byte of a version."),
    "diff": _Target(
        "model_store.commands.reading", "diff", "Show what differs between two versions."
    ),
    "compare": _Target(
        "producer.commands.compare", "compare", "Run two versions on the same items."
    ),
    "promote": _Target("model_store.commands.changing", "promote", "Point an alias at a version."),
    "rollback": _Target("model_store.commands.changing", "rollback", "Point an alias back."),
    "export": _Target("model_store.commands.reading", "export", "Copy a version to a folder."),
    "delete": _Target("model_store.commands.changing", "delete", "Delete a version."),
}


class _Router(click.Group):
    """A group whose commands are imported when they are called, not for `--help`."""

    def __init__(self, *args: Any, targets: dict[str, _Target], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._targets = targets

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self._targets)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        target = self._targets.get(cmd_name)
        if target is None:
            return None
        command: click.Command = getattr(importlib.import_module(target.module), target.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, target.summary) for name, target in self._targets.items()])


@click.group(
    cls=_Router,
    targets=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `fornada demo`. Settings: docs/reference/settings.md",
)
@click.version_option(__version__, prog_name="fornada")
def root() -> None:
    """Batch inference for Keras models on Celery and S3."""


@click.group(cls=_Router, targets=_MODELS_COMMANDS)
def models() -> None:
    """Publish, list, compare and promote models."""


@click.command()
def schemas() -> None:
    """Print the JSON Schemas of all messages as one JSON object.

    Example: fornada schemas > fornada-schemas.json
    """
    from fornada.commands.schemas import json_schemas  # noqa: PLC0415 - `--help` does not need pydantic

    print_json(json_schemas(), indent=2)


def main(argv: list[str] | None = None) -> None:
    """Run the command line; our errors are one line on stderr, never a traceback."""
    # Else Python goes through everything imported once more, for a quarter of a second.
    atexit.register(gc.freeze)
    try:
        code: Any = root.main(args=argv, prog_name="fornada", standalone_mode=False)
        sys.stdout.flush()
    except (click.exceptions.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except click.ClickException as exc:
        say_misuse(exc)
        sys.exit(exc.exit_code)
    except FornadaError as exc:
        _fail(str(exc), exc.exit_code)
    except MemoryError as exc:
        _fail(f"out of memory ({exc or 'no more is known'}); take fewer items, or more memory", 1)
    except BrokenPipeError:
        # The reader, such as `head`, has all it wanted.
        _silence_stdout()
        sys.exit(0)
    except OSError as exc:
        if exc.errno != errno.ENOSPC:
            raise
        _silence_stdout()
        _fail(f"cannot write the output: {exc.strerror}; free space or write elsewhere", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _silence_stdout() -> None:
    # At exit Python would try again to write the rest, and complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> None:
    say_error(message)
    sys.exit(code)
