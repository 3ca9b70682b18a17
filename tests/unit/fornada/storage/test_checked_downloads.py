"""A download is the recorded object, whole and verified, or no file."""

from pathlib import Path

import pytest

from fornada.errors import IntegrityError, ObjectNotFoundError
from fornada.records import ObjectRef
from fornada.storage.checked_reads import download_checked
from fornada.storage.memory import InMemoryObjectStore

_REMEDY = "publish it again"


def test_an_object_is_written_whole_and_others_see_nothing_before(tmp_path: Path) -> None:
    objects, path = InMemoryObjectStore(), tmp_path / "model.keras"
    objects.put("k", b"weights")

    download_checked(objects, ObjectRef.of("k", b"weights"), path, remedy=_REMEDY)
    inline = ObjectRef.of("inline", b"small", inline=True)
    download_checked(objects, inline, tmp_path / "inline", remedy=_REMEDY)

    assert [b"small", b"weights"] == [p.read_bytes() for p in sorted(tmp_path.iterdir())]


@pytest.mark.parametrize(
    ("stored", "fact"),
    [(b"longer than it was", "more than 7"), (b"short", "has 5"), (b"WEIGHTS", "its sha256")],
)
def test_another_object_leaves_no_file(tmp_path: Path, stored: bytes, fact: str) -> None:
    objects, ref = InMemoryObjectStore(), ObjectRef.of("k", b"weights")
    objects.put("k", stored)

    with pytest.raises(IntegrityError, match=f"{fact}.*{_REMEDY}"):
        download_checked(objects, ref, tmp_path / "model.keras", remedy=_REMEDY)
    objects.delete("k")
    with pytest.raises(ObjectNotFoundError, match="k is gone"):
        download_checked(objects, ref, tmp_path / "model.keras", remedy=_REMEDY)

    assert [] == list(tmp_path.iterdir())
