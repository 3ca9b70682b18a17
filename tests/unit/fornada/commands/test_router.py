"""The `fornada` command: fast to load, one line per error, an example for every command."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from fornada.commands import router
from fornada.errors import ConfigError, FornadaError, JobFailedError

_COMMANDS = list(router._COMMANDS)
_HEAVY = {"tensorflow", "keras", "sklearn", "matplotlib", "pyarrow", "celery", "boto3", "pydantic"}


def test_help_lists_every_command_and_loads_none() -> None:
    code = (
        "import sys, contextlib; from fornada.commands.router import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "print(sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert [name for name in _COMMANDS if f"  {name} " in done.stdout] == _COMMANDS
    assert set() == {name for name in _HEAVY if f"'{name}'" in done.stderr}


def test_every_command_and_subcommand_shows_an_example() -> None:
    def commands(group: click.Group) -> Iterator[click.Command]:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from commands(command)
            else:
                yield command

    found = list(commands(router.root))

    assert len(found) > len(_COMMANDS)
    assert [] == [each.name for each in found if "Example: fornada " not in str(each.help)]


def test_an_unknown_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    code = _exit_code(["bake"])

    assert 2 == code
    assert "No such command 'bake'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "expected"),
    [(JobFailedError("job j ended FAILED"), 1), (ConfigError("FORNADA_X is not a setting"), 2)],
)
def test_an_error_of_ours_is_one_line_and_its_exit_code(
    error: FornadaError,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _raising(error, monkeypatch)

    code = _exit_code(["schemas"])

    assert expected == code
    assert ("", f"error: {error}\n") == capsys.readouterr()


def test_an_interrupt_is_one_line_and_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _raising(KeyboardInterrupt(), monkeypatch)

    code = _exit_code(["schemas"])

    assert 130 == code
    assert "error: interrupted" == capsys.readouterr().err.strip()


def _raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `fornada schemas` raise `error`; every command's errors take the same way."""

    def fail() -> None:
        raise error

    monkeypatch.setattr(router.schemas, "callback", fail)


def _exit_code(argv: list[str]) -> object:
    with pytest.raises(SystemExit) as ended:
        router.main(argv)
    return ended.value.code
