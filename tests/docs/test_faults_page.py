"""The pages on faults and settings name tests that exist and every setting of Celery."""

import re
from pathlib import Path

from fornada.queue.celery_config import celery_config
from fornada.settings import Settings

ROOT = Path(__file__).parents[2]
FAULTS = (ROOT / "docs/operations/faults.md").read_text(encoding="utf-8")
PARTS = (ROOT / "docs/operations/settings-of-the-parts.md").read_text(encoding="utf-8")
#: Every deployment chooses its own.
_OF_A_DEPLOYMENT = {
    "broker_url",
    "broker_transport",
    "task_default_queue",
    "broker_transport_options",
}


def rows() -> list[list[str]]:
    """The cells of the table's rows, without headings and groups."""
    lines = [line for line in FAULTS.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    return [row for row in cells if not row[0].startswith("**")]


def names_in(file_name: str) -> list[str]:
    """The tests in files of that name."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob(file_name)]
    return re.findall(r"^def (test_\w+)", "\n".join(texts), re.MULTILINE)


def shown_by(cell: str) -> list[tuple[str, str]]:
    """The files and tests that a cell names; `…::` stands for the file named before."""
    found: list[tuple[str, str]] = []
    for name in re.findall(r"`([^`]+)`", cell):
        file_name, _, test = name.partition("::")
        if file_name.endswith(".py"):
            found.append((Path(file_name).name, test))
        elif file_name in {"…", ""} and test:
            found.append((found[-1][0], test))
    return found


def test_every_fault_has_an_end_and_tests_that_exist() -> None:
    for row in rows():
        fault, happens, seen, by = row
        named = shown_by(by)

        assert all((fault, happens, seen)), row
        assert by == "the same" or named, row
        assert [] == [each for each in named if not exists(*each)], fault


def exists(file_name: str, test: str) -> bool:
    """Whether a file of that name has the test; `test_x…` stands for all that begin so."""
    beginning = test.removesuffix("…")
    return any(
        there.startswith(beginning) if test.endswith("…") or not test else there == test
        for there in names_in(file_name)
    )


def test_every_test_that_breaks_real_servers_is_on_the_page() -> None:
    broken = [
        path.name
        for path in (ROOT / "tests/faults").glob("test_*.py")
        if "pytest.mark.soak" in path.read_text(encoding="utf-8")
    ]

    assert [] == [name for name in broken if f"`{name}" not in FAULTS]


def test_every_setting_of_celery_has_its_reason_on_the_page() -> None:
    # given
    config = celery_config(Settings(queue="fornada"))
    names = {*config, *config["broker_transport_options"]} - _OF_A_DEPLOYMENT

    # then
    explained = {
        name
        for line in PARTS.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert set() == names - explained
