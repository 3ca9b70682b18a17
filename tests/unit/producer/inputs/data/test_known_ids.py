"""An id that comes twice is found, at once among few, and at the end among many."""

import pytest

from fornada.errors import InputError, LocalDiskError
from producer.inputs.data import known_ids
from producer.inputs.data.known_ids import KnownIds


@pytest.mark.parametrize("twice", [0, 1, 2, 9, 29])
def test_an_id_that_comes_twice_among_many_is_found_at_the_end(
    monkeypatch: pytest.MonkeyPatch, twice: int
) -> None:
    monkeypatch.setattr(known_ids, "_MOST_HELD", 8)
    ids = [f"C-{n}" for n in range(30)]

    with KnownIds() as known:
        for first in range(0, 30, 5):
            known.add(ids[first : first + 5], first)
        known.check()
        known.add(["another", ids[twice], "more"], 30)
        with pytest.raises(InputError, match=f"items {twice} and 31 have the same id; give each"):
            known.check()


def test_among_few_ids_it_is_found_at_once() -> None:
    with KnownIds() as known:
        known.add(["a", "b", "\ud800"], 0)
        with pytest.raises(InputError, match="items 1 and 4 have the same id, 'b'"):
            known.add(["c", "b"], 3)


def test_a_folder_that_takes_no_file_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(known_ids, "_MOST_HELD", 0)
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")

    with (
        KnownIds() as known,
        pytest.raises(LocalDiskError, match="ids cannot be kept in /nowhere/at/all"),
    ):
        known.add(["a"], 0)
