"""The generated reference pages match the code, and the check notices when they do not."""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GENERATE = Path(__file__).parents[2] / "docs" / "generate.py"
DOCS = GENERATE.parent


@pytest.fixture(scope="module")
def generate() -> dict[str, Any]:
    """The names in docs/generate.py."""
    return runpy.run_path(str(GENERATE))


def test_pages_are_what_the_code_says() -> None:
    # when
    checked = subprocess.run(
        [sys.executable, str(GENERATE), "--check"], capture_output=True, text=True, check=False
    )

    # then
    assert ("", 0) == (checked.stderr, checked.returncode)


def test_the_list_of_keras_objects_is_what_keras_has() -> None:
    script = GENERATE.with_name("generate_keras_objects.py")

    checked = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )

    assert ("", 0) == (checked.stdout, checked.returncode), checked.stderr


def test_a_page_that_was_edited_is_stale(generate: dict[str, Any], tmp_path: Path) -> None:
    # given
    for path, text in generate["pages"]().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    fresh = generate["stale"](tmp_path)

    # when
    (tmp_path / "reference/errors.md").write_text("edited", encoding="utf-8")
    (tmp_path / "reference/settings.md").unlink()

    # then
    assert [] == fresh
    stale = generate["stale"](tmp_path)
    assert [Path("reference/settings.md"), Path("reference/errors.md")] == stale


def test_every_schema_is_generated(generate: dict[str, Any]) -> None:
    generated = {path.name for path in generate["pages"]() if path.parent.name == "schemas"}

    assert generated == {path.name for path in (DOCS / "reference/schemas").iterdir()}


def test_every_command_is_there_with_an_example(generate: dict[str, Any]) -> None:
    # when
    commands = dict(generate["commands"]())

    # then
    assert {"fornada demo", "fornada submit", "fornada jobs results"} <= set(commands)
    assert [] == [
        path
        for path, command in commands.items()
        if not hasattr(command, "commands") and f"Example: {path}" not in (command.help or "")
    ]


def test_a_setting_takes_what_its_pattern_says(generate: dict[str, Any]) -> None:
    # when
    rows = [row.split(" | ") for row in generate["settings_page"]().splitlines()]
    takes = {row[0].strip("| `"): row[2] for row in rows if len(row) == 4}

    # then
    assert takes["FORNADA_URL"] == "a URL that begins with `http://` or `https://`"
    assert takes["FORNADA_REDIS_CREDENTIALS"] == "`package.module:function`"
    assert takes["FORNADA_QUEUE"].startswith("1 to 128 letters")
