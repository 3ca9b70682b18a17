"""Folders of one user: made closed, or closed; refused where another user or a link has them."""

import os
from pathlib import Path

import pytest

from fornada.errors import LocalDiskError
from fornada.files.private_folder import (
    check_private,
    claim_private,
    default_cache_dir,
    is_private_file,
    make_private,
    open_private,
)

_SETTING = "FORNADA_CACHE_DIR"


def test_the_default_cache_is_no_shared_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for user in (0, 1000):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        environs = ({"XDG_CACHE_HOME": "/x"}, {"XDG_CACHE_HOME": "x", "HOME": "/h"})
        found += [str(default_cache_dir(environ)) for environ in environs]

    assert ["/x/fornada", "/var/cache/fornada", "/x/fornada", "/h/.cache/fornada"] == found


def test_a_folder_is_made_closed_and_an_open_one_of_ours_is_closed(tmp_path: Path) -> None:
    # Given
    new, opened = tmp_path / "new", tmp_path / "open"
    opened.mkdir()
    opened.chmod(0o777)

    # When
    for folder in (new, opened):
        make_private(folder, setting=_SETTING)

    # Then
    assert [0o40700, 0o40700] == [folder.stat().st_mode for folder in (new, opened)]


def test_a_link_is_refused_with_the_setting(tmp_path: Path) -> None:
    # Given
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    links = [tmp_path / "link", tmp_path / "dangling"]
    links[0].symlink_to(target)
    links[1].symlink_to(tmp_path / "absent")

    # When, then
    for link in links:
        for prepare in (make_private, check_private):
            with pytest.raises(LocalDiskError, match=rf"is a link.*{_SETTING}"):
                prepare(link, setting=_SETTING)
    assert (0o40755, False) == (target.stat().st_mode, (tmp_path / "absent").exists())


def test_a_folder_that_the_user_names_is_closed_unless_others_put_or_use_something_there(
    tmp_path: Path,
) -> None:
    for mode, file, refusal in (
        (None, None, None),
        (0o777, None, None),
        (0o755, "mark", None),
        (0o775, "mark", "can be written by others (mode 775), and is not empty"),
        (0o755, "theirs", "is open to others (mode 755), and has other files"),
        (0o700, "theirs", None),
    ):
        # Given
        folder = tmp_path / f"{mode}-{file}"
        if mode is not None:
            folder.mkdir()
            folder.chmod(mode)
        if file is not None:
            (folder / file).touch()

        # When
        try:
            claim_private(folder, mark="mark", setting=_SETTING)
            said = None
        except LocalDiskError as exc:
            said = str(exc)

        # Then
        expected = refusal and f"{folder} {refusal}; name a new folder with {_SETTING}"
        assert expected == (said and said.partition(", or chmod 700 it")[0])
        assert (mode if refusal else 0o700) == folder.stat().st_mode & 0o777


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_refused_and_left_alone(tmp_path: Path) -> None:
    # Given
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o755)
    os.chown(folder, 4711, 4711)

    # When
    with pytest.raises(LocalDiskError) as caught:
        make_private(folder, setting=_SETTING)

    # Then
    assert (
        f"{folder} belongs to user 4711, and this process is user 0; name a folder of your own "
        f"with {_SETTING}"
    ) == str(caught.value)
    assert 0o40755 == folder.stat().st_mode


def test_a_link_to_a_file_is_not_opened(tmp_path: Path) -> None:
    # Given: links of both kinds to a file with content
    kept = tmp_path / "kept"
    kept.write_bytes(b"kept")
    links = [tmp_path / "symbolic", tmp_path / "hard"]
    links[0].symlink_to(kept)
    links[1].hardlink_to(kept)

    # When, then
    for link in links:
        assert not is_private_file(link)
        with pytest.raises(OSError, match=r"link|this user alone"):
            open_private(link)
    assert b"kept" == kept.read_bytes()
