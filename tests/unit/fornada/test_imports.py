"""Blocked imports: modules that appear to be missing."""

import importlib
import sys

import pytest

from fornada.imports import imports_blocked

_NAME = "xml.sax.saxutils"


@pytest.fixture(autouse=True)
def _not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, _NAME, raising=False)


def test_what_is_kept_out_is_not_there_until_the_end_of_the_block() -> None:
    with imports_blocked([_NAME]), pytest.raises(ModuleNotFoundError):
        importlib.import_module(_NAME)

    assert hasattr(importlib.import_module(_NAME), "escape")


def test_a_stand_in_is_there_and_empty() -> None:
    with imports_blocked([], stand_ins=[_NAME]):
        assert not hasattr(importlib.import_module(_NAME), "escape")

    assert hasattr(importlib.import_module(_NAME), "escape")


def test_what_is_imported_already_stays() -> None:
    imported = importlib.import_module(_NAME)

    with imports_blocked([_NAME]):
        assert imported is importlib.import_module(_NAME)

    assert imported is sys.modules[_NAME]
