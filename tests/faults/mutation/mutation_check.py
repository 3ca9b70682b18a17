"""Check that tests can fail: break the protocol in a copy, and run the tests that must notice.

`make mutation-check` applies each mutation of `mutations.py` to a copy of the tracked files. Each
test that the mutation names must fail there, with its own assertion or timeout.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from mutations import MUTATIONS, Mutation
from rich.table import Column, Table
from rich.text import Text

from fornada.commands.output import console

_ROOT = Path(__file__).parents[3]
#: How pytest reports a test's own assertion or timeout.
_OWN_FAILURES = ("AssertionError", "assert ", "Failed: ")
_FOREIGN = ("FORNADA_", "AWS_", "PYTEST_")
_AT_A_TIME = 2
#: Far longer than these tests take; a hang is not a failure of a test's own.
_RUN_WITHIN_S = 600.0
_NOT_RUN = "error: pytest did not come to it", 0.0
_WHERE = "import importlib.util, sys; print(importlib.util.find_spec(sys.argv[1]).origin)"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of one test under one mutation: `red`, `SURVIVED`, or why it is neither."""

    mutation: str
    file: str
    test: str
    verdict: str
    duration_s: float


@click.command()
@click.option(
    "--only",
    "names",
    multiple=True,
    type=click.Choice([mutation.name for mutation in MUTATIONS]),
    metavar="NAME",
    help="Only this mutation; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(names: Sequence[str], *, as_json: bool) -> None:
    """Break the protocol in one place at a time, and check that the tests notice.

    Exits with 1 if a mutation survives.

    Example: python tests/faults/mutation/mutation_check.py --only commit-overwrites
    """
    chosen = [mutation for mutation in MUTATIONS if not names or mutation.name in names]
    began = time.monotonic()
    for mutation in chosen:
        _mutated(mutation)
    _check_unmutated(sorted({test for mutation in chosen for test in mutation.tests}))
    verdicts: list[Verdict] = []
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for told in pool.map(_try, chosen):
            for verdict in told:
                click.echo(f"{verdict.verdict}: {verdict.mutation}: {verdict.test}", err=True)
            verdicts += told
    duration_s = round(time.monotonic() - began, 1)
    all_red = all(verdict.verdict == "red" for verdict in verdicts)
    if as_json:
        plain = [asdict(verdict) for verdict in verdicts]
        click.echo(json.dumps({"all_red": all_red, "duration_s": duration_s, "tests": plain}))
    else:
        _print(verdicts)
        click.echo(f"{len(chosen)} mutations in {duration_s:g} s", err=True)
    sys.exit(0 if all_red else 1)


def _print(verdicts: Sequence[Verdict]) -> None:
    table = Table("mutation", "file", Column("test", overflow="fold"), "", "seconds", box=None)
    before = ""
    for told in verdicts:
        named = (told.mutation, told.file) if told.mutation != before else ("", "")
        test = Text(told.test.rpartition("::")[2])
        table.add_row(*named, test, told.verdict.partition(",")[0], f"{told.duration_s:.1f}")
        before = told.mutation
    console().print(table)


def _mutated(mutation: Mutation) -> str:
    """The text of the file with the mutation applied."""
    text = (_ROOT / mutation.path).read_text()
    found = text.count(mutation.old)
    if found != 1:
        raise click.ClickException(
            f"mutation {mutation.name} no longer fits {mutation.path}: its text is there {found} "
            "times; change it in tests/faults/mutation/mutations.py"
        )
    return text.replace(mutation.old, mutation.new)


def _check_unmutated(tests: Sequence[str]) -> None:
    """Check that every test passes unmutated; otherwise its failure proves nothing."""
    click.echo(f"{len(tests)} tests without a mutation", err=True)
    with _copy() as folder:
        told = _run(folder, tests)
    wrong = [f"{test}: {verdict}" for test, (verdict, _) in told.items() if verdict != "passed"]
    if wrong:
        raise click.ClickException("these fail without a mutation too:\n" + "\n".join(wrong))


def _try(mutation: Mutation) -> list[Verdict]:
    """Run the mutation's tests."""
    with _copy() as folder:
        (folder / mutation.path).write_text(_mutated(mutation))
        _check_imported(folder, mutation.path)
        told = _run(folder, mutation.tests)
    return [
        Verdict(
            mutation=mutation.name,
            file=mutation.path,
            test=test,
            verdict=_judged(said, mutation.raises),
            duration_s=duration_s,
        )
        for test, (said, duration_s) in told.items()
    ]


def _judged(said: str, raises: str | None) -> str:
    if said == "passed":
        return "SURVIVED"
    own = (*_OWN_FAILURES, raises) if raises else _OWN_FAILURES
    how, _, why = said.partition(": ")
    return "red" if how == "failed" and why.startswith(own) else f"NO VERDICT, {said}"


@contextmanager
def _copy() -> Iterator[Path]:
    """A folder with the tracked files in their present state."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    with tempfile.TemporaryDirectory(prefix="fornada-mutation-") as name:
        folder = Path(name).resolve()
        for path in filter(None, tracked.stdout.split("\0")):
            if (_ROOT / path).is_file():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(_ROOT / path, folder / path)
        yield folder


def _check_imported(folder: Path, path: str) -> None:
    """Check that Python imports the module of `path` from the copy."""
    if not path.endswith(".py"):
        # A script, read by the package around its folder.
        path = str(Path(path).parents[1] / "__init__.py")
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    found = subprocess.run(
        [sys.executable, "-c", _WHERE, module],
        cwd=folder,
        env=_environ(folder),
        capture_output=True,
        text=True,
        check=True,
    )
    if Path(found.stdout.strip()) != folder / path:
        raise click.ClickException(f"{module} is imported from {found.stdout.strip()}")


def _run(folder: Path, tests: Sequence[str]) -> dict[str, tuple[str, float]]:
    """Each test's result (`passed`, or `failed|error|skipped: reason`) and seconds."""
    report = folder / "report.xml"
    # Slow tests too.
    command = [sys.executable, "-m", "pytest", "-q", "-m", "", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run(
            [*command, f"--junit-xml={report}", *tests],
            cwd=folder,
            env=_environ(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_RUN_WITHIN_S,
        )
    except subprocess.TimeoutExpired:
        said = f"error: no end within {_RUN_WITHIN_S:g} s", _RUN_WITHIN_S
        return dict.fromkeys(tests, said)
    cases: dict[object, ET.Element] = {}
    if report.exists():
        cases = {(c.get("classname"), c.get("name")): c for c in ET.parse(report).iter("testcase")}
    told = {test: _said(cases.get(_case_of(test))) for test in tests}
    if _NOT_RUN in told.values():
        click.echo(f"pytest ended with {done.returncode}:\n{done.stdout[-4000:]}", err=True)
    return told


def _said(case: ET.Element | None) -> tuple[str, float]:
    if case is None:
        return _NOT_RUN
    duration_s = float(case.get("time", "0"))
    for tag, how in (("failure", "failed"), ("error", "error"), ("skipped", "skipped")):
        found = case.find(tag)
        if found is not None:
            first_line = found.get("message", "").partition("\n")[0]
            return f"{how}: {first_line}", duration_s
    return "passed", duration_s


def _case_of(test: str) -> tuple[str, str]:
    """The test's class name and name in pytest's report."""
    path, _, name = test.partition("::")
    return path.removesuffix(".py").replace("/", "."), name


def _environ(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**kept, "PYTHONPATH": str(folder), "HYPOTHESIS_PROFILE": "mutation"}


if __name__ == "__main__":
    main()
