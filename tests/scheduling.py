"""Which tests run in the same process of `make test`, and in which order: the longest first."""

import pytest
from xdist.scheduler import LoadFileScheduling

#: Files that share the session's deployment with a trained model.
_LIVE = {
    "tests/e2e/test_bad_messages.py",
    "tests/e2e/test_kinds_of_items.py",
    "tests/e2e/test_roles_by_hand.py",
}
#: Folders with long files; the short files after them fill the gaps at the end of a run.
_LONG = (
    "tests/e2e",
    "tests/faults",
    "tests/integration/trainer",
    "tests/integration/worker",
    "tests/unit/trainer",
)


class ByDeployment(LoadFileScheduling):
    """Keeps the tests of a file together, and files that share a deployment."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "live" if path in _LIVE else path


def longest_first(items: list[pytest.Item]) -> None:
    """Move the folders with long files to the front, in place."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))
