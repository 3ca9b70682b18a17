"""Commands of the benchmarks refuse wrong usage before their work, in a line."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from benchmarks import __main__ as comparison
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import wheels


@pytest.mark.parametrize(
    ("command", "option"),
    [(comparison.main, "--output"), (gpu.main, "--output"), (wheels.main, "")],
)
def test_a_folder_that_cannot_be_written_is_told_first(
    command: click.Command, option: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    folder = str(tmp_path / "file" / "results")

    done = CliRunner().invoke(command, [option, folder] if option else [folder])

    assert 2 == done.exit_code
    assert f"{folder} cannot be created: Not a directory" in done.output


def test_what_pip_cannot_find_ends_without_a_traceback(tmp_path: Path) -> None:
    done = CliRunner().invoke(wheels.main, [str(tmp_path / "new"), "--python", "no-python"])

    assert 1 == done.exit_code
    assert isinstance(done.exception, SystemExit)
