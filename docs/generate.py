"""Write the reference pages that follow from the code: settings, commands, errors, schemas.

python docs/generate.py            writes them
python docs/generate.py --check    exits 1 if one of them is not what the code says
"""

import argparse
import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from fornada import errors
from fornada.commands.router import root
from fornada.commands.schemas import json_schemas
from fornada.settings import PREFIX, Settings
from fornada.settings.patterns import WORDS
from gateway.app import create_app
from gateway.deployment import Deployment
from model_store.engines.catalog import ENGINES

DOCS = Path(__file__).parent
_WIDTH = 100
_NOTE = "<!-- Written by docs/generate.py; change the code, then run it again. -->\n"

_SETTINGS_HEAD = """\
# Settings

Every process reads its settings from environment variables, once, at start. There is no
settings file.

- An unknown variable that begins with `FORNADA_` is an error, so that typing errors do not go
  unnoticed. The message names the closest one that exists.
- An empty value counts as unset.
- A secret may be in a file, such as one of Docker or Kubernetes. `FORNADA_REDIS_URL_FILE`,
  `FORNADA_S3_SECRET_ACCESS_KEY_FILE` and `FORNADA_DEPLOYMENT_KEYS_FILE` name it. Space around
  the secret is dropped.
- An invalid value is an error that names the variable; the exit code is 2.
- `FORNADA_REDIS_URL` begins with `redis://`, `rediss://`, `unix://`, `sentinel://` or
  `sentinels://`, `FORNADA_S3_ENDPOINT_URL` with `http://` or `https://`.
- Set both `FORNADA_S3_ACCESS_KEY_ID` and `FORNADA_S3_SECRET_ACCESS_KEY`, or neither. Without
  them, boto3 looks for credentials in its usual places, such as `AWS_*` variables and profiles.
- Names state units: `_S` is seconds, `_BYTES` is bytes.

In Python, `Settings.from_env(os.environ)` of `fornada.settings` does the same.
"""

_ENGINES_HEAD = """\
## Engines

All engines but `test` read the same `.keras` artifacts. Each outcome names its engine.
"""

_CLI_HEAD = """\
# Commands

[Settings](settings.md) come from the environment. Every command takes `-h` or `--help`.

- With `--json`, a command prints one JSON object on stdout. Progress, logs and errors always go
  to stderr.
- Exit codes: 0 success, 1 the work failed, 2 the call was wrong, 130 Ctrl-C.
  [errors.md](errors.md) has the code of each error.
- `fornada submit --wait` and `fornada jobs watch` exit 0 if the job ended SUCCEEDED, or PARTIAL and
  was submitted with `--max-failed`; else 1. `fornada jobs errors` says which items failed, and why.
"""

_ERRORS_HEAD = """\
# Errors

Everything Fornada raises on purpose is a `FornadaError`, in `fornada.errors`. Its message
states the fact with its values, then the remedy. The command line prints it as one line,
`error: …`, without a traceback.

- **Fault**: what is at fault. `caller`: the call or a setting. `item`: the data. `model`: the
  model. `worker`: the machine or the process. `transient`: nothing; the same call may succeed
  later (`may_pass_later`).
- **Exit code**: of the command. 1: the work failed. 2: the call was wrong.
- **HTTP**: the status for an HTTP API to answer with (`http_status`).
- **Also a**: the built-in exception that an `except` may name instead.

Indented classes derive from the class above them.
"""


def pages() -> dict[Path, str]:
    """The content of every generated file, by its path below `docs/`."""
    generated = {
        Path("reference/settings.md"): settings_page(),
        Path("reference/cli.md"): cli_page(),
        Path("reference/errors.md"): errors_page(),
        Path("reference/logs.md"): logs_page(),
        Path("reference/openapi.json"): openapi(),
    }
    for name, schema in json_schemas().items():
        text = json.dumps(schema, indent=2, sort_keys=True) + "\n"
        generated[Path(f"reference/schemas/{name}.schema.json")] = text
    return generated


def stale(folder: Path) -> list[Path]:
    """The generated files below `folder` that are missing or not what the code says."""
    return [
        path
        for path, text in pages().items()
        if not (folder / path).exists() or (folder / path).read_text(encoding="utf-8") != text
    ]


def openapi() -> str:
    """The description of the gateway's API."""
    schema = create_app(Deployment.from_settings(Settings())).openapi()
    return json.dumps(schema, indent=2) + "\n"


def settings_page() -> str:
    """`reference/settings.md`."""
    rows = ["| Variable | Default | Takes | Meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(
            f"| `{PREFIX}{name.upper()}` | {_default(field)} | {_takes(name)} "
            f"| {field.description} |"
        )
    return "\n".join([_NOTE, _SETTINGS_HEAD, *rows, "", _ENGINES_HEAD, *_engine_rows()]) + "\n"


def _engine_rows() -> Iterator[str]:
    yield "| `FORNADA_ENGINE` | Install | What it is |"
    yield "|---|---|---|"
    for engine in ENGINES:
        extra = f"`fornada[{engine.extra}]`" if engine.extra else ""
        yield f"| `{engine.name}` | {extra} | {engine.summary} |"


def cli_page() -> str:
    """`reference/cli.md`."""
    sections = [
        f"## {path}\n\n```text\n{_help(command, path)}\n```\n" for path, command in commands()
    ]
    return "\n".join([_NOTE, _CLI_HEAD, *sections])


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, groups before their members."""

    def below(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
        yield path, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                member = command.get_command(context, name)
                if member is not None:
                    yield from below(member, f"{path} {name}")

    return below(root, "fornada")


def errors_page() -> str:
    """`reference/errors.md`."""
    rows = ["| Error | When | Fault | Exit code | HTTP | Also a |", "|---|---|---|---|---|---|"]
    for depth, error in error_tree():
        says = (error.__doc__ or "").strip().splitlines()[0]
        builtin = [base.__name__ for base in error.__bases__ if base.__module__ == "builtins"]
        also = ", ".join(f"`{name}`" for name in builtin if name != "Exception")
        rows.append(
            f"| {'&emsp;' * depth}`{error.__name__}` | {says} | {error.fault} "
            f"| {error.exit_code} | {error.http_status} | {also} |"
        )
    return "\n".join([_NOTE, _ERRORS_HEAD, *rows]) + "\n"


def logs_page() -> str:
    """`reference/logs.md`."""
    text: str = runpy.run_path(str(DOCS / "log_lines.py"))["page"](_NOTE)
    return text


def error_tree() -> Iterator[tuple[int, type[errors.FornadaError]]]:
    """Every error and how deep it is below `FornadaError`, in the order of the tree."""

    def below(error: type[errors.FornadaError], depth: int) -> Iterator[Any]:
        yield depth, error
        for child in error.__subclasses__():
            if child.__module__ == errors.__name__:
                yield from below(child, depth + 1)

    return below(errors.FornadaError, 0)


def _help(command: click.Command, path: str) -> str:
    context = click.Context(
        command,
        info_name=path,
        terminal_width=_WIDTH,
        help_option_names=["-h", "--help"],
    )
    return command.get_help(context)


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        # It depends on the machine, as the description says.
        return "see there"
    value = field.default
    if value is None:
        return "unset"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return f"`{value}`"


def _takes(name: str) -> str:
    own = Settings.model_json_schema()["properties"][name]
    if name == "engine":
        return ", ".join(f"`{engine.name}`" for engine in ENGINES)
    plain = next((kind for kind in own.get("anyOf", []) if kind["type"] != "null"), own)
    if "enum" in plain:
        return ", ".join(f"`{value}`" for value in plain["enum"])
    limits = [
        f"{word} {plain[key]}"
        for key, word in (
            ("minimum", "from"),
            ("exclusiveMinimum", "over"),
            ("maximum", "to"),
            ("exclusiveMaximum", "under"),
        )
        if key in plain
    ]
    kinds = {
        "boolean": "`true` or `false`",
        "integer": "whole number",
        "number": "number",
        "string": "text",
    }
    kind = "folder" if plain.get("format") == "path" else kinds[plain["type"]]
    if "pattern" in plain:
        kind = WORDS[plain["pattern"]]
    return " ".join([kind, *limits])


def main() -> int:
    """Write the pages, or with `--check` say which are stale."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if stale")
    check = parser.parse_args().check
    changed = stale(DOCS)
    for path in changed:
        if check:
            sys.stderr.write(f"docs/{path} is stale; run: python docs/generate.py\n")
        else:
            (DOCS / path).parent.mkdir(parents=True, exist_ok=True)
            (DOCS / path).write_text(pages()[path], encoding="utf-8")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
