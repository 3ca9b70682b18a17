"""An error of a path that cannot be written says what is in the way."""

import errno
import os
from pathlib import Path

import pytest

from fornada.errors import LocalDiskError
from fornada.files.refusals import what_helps
from trainer.data.files import write_file


def test_the_remedy_follows_from_what_the_system_says() -> None:
    right = f"let user {os.geteuid()} write there"
    remedies = {
        errno.ENOSPC: "free space there",
        errno.EDQUOT: "free space there",
        errno.EACCES: right,
        errno.EPERM: right,
        errno.EROFS: "mount it writable",
        errno.ENOENT: "make its folder first",
        errno.ENOTDIR: "make its folder first",
        errno.EIO: "check the disk",
    }

    assert remedies == {code: what_helps(OSError(code, "x")) for code in remedies}


def test_a_file_of_a_folder_that_is_missing_needs_no_space(tmp_path: Path) -> None:
    with pytest.raises(LocalDiskError, match=r"\(No such file or directory\); make its folder"):
        write_file(tmp_path / "missing" / "images.npy", b"")
