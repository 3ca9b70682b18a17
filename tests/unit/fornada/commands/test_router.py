"""The `fornada` command: fast to load, one line per error, an example for every command."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from fornada.commands import router
from fornada.errors import ConfigError, JobFailedError

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


def test_an_unknown_command_or_option_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for argv, line in (
        (["bake"], "Error: No such command 'bake'."),
        (["schemas", "--\x1b[2J"], r"Error: No such option '--\x1b[2J'."),
    ):
        code = _exit_code(argv)

        assert (2, line) == (code, capsys.readouterr().err.splitlines()[-1])


def test_an_error_of_ours_and_an_interrupt_are_one_line_and_their_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error, code, line in (
        (JobFailedError("job j ended FAILED"), 1, "job j ended FAILED"),
        (ConfigError("FORNADA_X is not a setting"), 2, "FORNADA_X is not a setting"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError("2 GiB"), 1, "out of memory (2 GiB); take fewer items, or more memory"),
    ):

        def fail(error: BaseException = error) -> None:
            raise error

        # Every command's errors take the same way.
        monkeypatch.setattr(router.schemas, "callback", fail)

        assert code == _exit_code(["schemas"])
        out, err = capsys.readouterr()
        assert ("", f"error: {line}") == (out, err.strip())


def _exit_code(argv: list[str]) -> object:
    with pytest.raises(SystemExit) as ended:
        router.main(argv)
    return ended.value.code
