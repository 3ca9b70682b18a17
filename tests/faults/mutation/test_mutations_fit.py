"""The mutations of `make mutation-check` fit the code, and name tests that exist."""

from pathlib import Path

from .mutations import MUTATIONS

_ROOT = Path(__file__).parents[3]


def test_mutations_replace_text_that_their_file_has_once() -> None:
    assert [] == [
        mutation.name
        for mutation in MUTATIONS
        if (_ROOT / mutation.path).read_text().count(mutation.old) != 1
    ]


def test_mutations_name_tests_that_exist() -> None:
    named = {test.partition("[")[0] for mutation in MUTATIONS for test in mutation.tests}

    assert [] == [test for test in sorted(named) if not _exists(*test.split("::"))]


def _exists(path: str, function: str) -> bool:
    return f"def {function}(" in (_ROOT / path).read_text()
