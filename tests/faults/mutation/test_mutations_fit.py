"""The mutations of `make mutation-check` fit the code, and name tests that exist."""

import subprocess
import sys
from pathlib import Path

import pytest

from .mutations import MUTATIONS

_ROOT = Path(__file__).parents[3]


def test_mutations_replace_text_that_their_file_has_once() -> None:
    assert [] == [
        mutation.name
        for mutation in MUTATIONS
        if (_ROOT / mutation.path).read_text().count(mutation.old) != 1
    ]


@pytest.mark.slow
def test_mutations_name_tests_that_exist() -> None:
    named = sorted({test for mutation in MUTATIONS for test in mutation.tests})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", *named]

    collected = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)

    assert [] == sorted(set(named) - set(collected.stdout.splitlines()))
