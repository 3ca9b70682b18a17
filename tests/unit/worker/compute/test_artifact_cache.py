"""The cache of artifacts writes through no link, and reads no file that others can change."""

from pathlib import Path

import pytest

from fornada.errors import LocalDiskError
from fornada.records import sha256_hex
from worker.compute.artifact_cache import ArtifactCache

_DATA = b"artifact"
_DIGEST = sha256_hex(_DATA)


def _fetch(path: Path) -> None:
    # As a download does it.
    part = path.with_suffix(".part")
    part.write_bytes(_DATA)
    part.replace(path)


def test_no_link_in_the_cache_is_followed(tmp_path: Path) -> None:
    # Given: a link in each place that is written
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_bytes(_DATA)
    places = ["", "locks", "artifacts", f"locks/{_DIGEST}.lock"]
    for number, place in enumerate(places):
        cache = tmp_path / f"cache{number}"
        link = cache / place
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(kept / "file" if link.suffix else kept)

        # When
        with pytest.raises(LocalDiskError, match="FORNADA_CACHE_DIR"):
            ArtifactCache(cache).get_or_fetch(_DIGEST, _fetch)

    # Then
    assert [kept / "file"] == list(kept.iterdir())
    assert _DATA == (kept / "file").read_bytes()


def test_an_artifact_that_is_a_link_is_fetched_again(tmp_path: Path) -> None:
    # Given: the right bytes, in a file that another user can change later
    theirs = tmp_path / "theirs"
    theirs.write_bytes(_DATA)
    cached = tmp_path / "cache" / "artifacts" / f"{_DIGEST}.keras"
    cached.parent.mkdir(parents=True)
    cached.symlink_to(theirs)

    # When
    path = ArtifactCache(tmp_path / "cache").get_or_fetch(_DIGEST, _fetch)

    # Then
    assert (cached, False, _DATA) == (path, path.is_symlink(), path.read_bytes())
    assert _DATA == theirs.read_bytes()
