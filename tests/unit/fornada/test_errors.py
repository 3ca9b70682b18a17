"""The errors: one tree, as its docstring draws it, fit to cross processes."""

import copy
import pickle
import re

import pytest

from fornada import errors
from fornada.errors import (
    BacklogFullError,
    BrokerError,
    FornadaError,
    IntegrityError,
    LocalDiskError,
    UsageError,
)

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, FornadaError)
]


def _drawn_tree() -> dict[str, str]:
    """The docstring's tree: class → its parent."""
    parents: dict[str, str] = {}
    above = ["FornadaError"]
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"    (?P<bars>[| ]*)(?:\|-|`-) (?P<name>\w+Errors?)", line):
            depth = len(match["bars"]) // 3 + 1
            above = [*above[:depth], match["name"]]
            parents[match["name"]] = above[depth - 1]
    return parents


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    defined = {c.__name__: c.__bases__[0].__name__ for c in CLASSES if c is not FornadaError}

    assert defined == _drawn_tree()


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_survives_pickling_and_copying(kind: type[FornadaError]) -> None:
    error = kind("the fact; the remedy")

    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is kind
        assert "the fact; the remedy" == str(twin)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_ends_a_command_with_1_or_2(kind: type[FornadaError]) -> None:
    assert kind.exit_code in {1, 2}
    assert kind.__doc__


def test_only_what_heals_by_itself_may_pass_later() -> None:
    passing = {kind.__name__ for kind in CLASSES if kind.may_pass_later}

    assert {
        "BacklogFullError",
        "BrokerError",
        "JobNotFinishedError",
        "StoreUnavailableError",
        "WaitTimeoutError",
    } == passing


def test_exit_code_and_status_follow_from_whose_fault_it_is() -> None:
    told = {
        kind: (kind.fault, kind.exit_code, kind.http_status)
        for kind in (UsageError, IntegrityError, LocalDiskError, BrokerError, BacklogFullError)
    }

    assert {
        UsageError: ("caller", 2, 400),
        IntegrityError: ("item", 1, 422),
        LocalDiskError: ("worker", 1, 500),
        BrokerError: ("transient", 1, 503),
        BacklogFullError: ("transient", 1, 429),
    } == told
