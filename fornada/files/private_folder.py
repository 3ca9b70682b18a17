"""Folders and files that this user alone can read and write, and that no link leads out of."""

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from fornada.errors import LocalDiskError

_PRIVATE = 0o700
_BY_OTHERS, _WRITABLE_BY_OTHERS = 0o077, 0o022
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def default_cache_dir(environ: Mapping[str, str]) -> Path:
    """`$XDG_CACHE_HOME/fornada`, else `/var/cache/fornada` for root, else `~/.cache/fornada`."""
    given = environ.get("XDG_CACHE_HOME", "")
    # A relative one is to be ignored, says the XDG specification.
    if given.startswith("/"):
        return Path(given, "fornada")
    home = environ.get("HOME") or Path("~").expanduser()
    if os.geteuid() == 0 or not Path(home).is_absolute():
        return Path("/var/cache/fornada")
    return Path(home, ".cache", "fornada")


def make_private(folder: Path, *, setting: str) -> None:
    """Make `folder` unless it exists, and let nobody else into it.

    Args:
        folder: The folder.
        setting: What names another one, for the error message.

    Raises:
        LocalDiskError: It is a link, belongs to another user, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
    except OSError as exc:
        # `mkdir` also stumbles over a link that leads nowhere, or a file.
        _refuse_link(folder, setting)
        raise LocalDiskError(
            f"{folder} cannot be made ({exc.strerror}); name another folder with {setting}"
        ) from exc
    _tighten(folder, setting)


def claim_private(folder: Path, *, mark: str, setting: str) -> None:
    """Make a folder that the user names private, as `make_private` does, if it is fit for that.

    Args:
        folder: The folder.
        mark: A file that shows that the folder was used so before.
        setting: What names another one, for the error message.

    Raises:
        LocalDiskError: As `make_private`; or it is open to others, and they may have put something
            there, or it holds what was never meant to be private.
    """
    _refuse_link(folder, setting)
    mode, is_empty = 0, True
    # What keeps us from looking, `make_private` says.
    with suppress(OSError):
        mode = stat.S_IMODE(folder.stat().st_mode)
        is_empty = not any(folder.iterdir())
    if mode & _WRITABLE_BY_OTHERS and not is_empty:
        raise LocalDiskError(
            f"{folder} can be written by others (mode {mode:o}), and is not empty; name a new "
            f"folder with {setting}, or chmod 700 it if you trust what it holds"
        )
    if mode & _BY_OTHERS and not is_empty and not (folder / mark).exists():
        raise LocalDiskError(
            f"{folder} is open to others (mode {mode:o}), and has other files; name a new folder "
            f"with {setting}, or chmod 700 it"
        )
    make_private(folder, setting=setting)


def check_private(folder: Path, *, setting: str) -> None:
    """Check a folder as `make_private` does; one that does not exist is as good.

    Raises:
        LocalDiskError: It is a link, or belongs to another user.
    """
    if os.path.lexists(folder):
        _tighten(folder, setting)


def open_private(path: Path) -> IO[bytes]:
    """The file for writing, emptied; made if it does not exist.

    Raises:
        OSError: It is a link or no regular file, belongs to another user, or cannot be written.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    opened = os.open(path, flags, 0o600)
    file = os.fdopen(opened, "wb")
    if not _is_own_file(os.fstat(opened)):
        file.close()
        raise PermissionError(1, "it is not a file of this user alone", str(path))
    file.truncate()
    return file


def is_private_file(path: Path) -> bool:
    """Whether `path` is a file of this user alone, and no link.

    Raises:
        OSError: There is none.
    """
    return _is_own_file(path.lstat())


def _is_own_file(found: os.stat_result) -> bool:
    # Under a second name, another user might have put a file of ours here.
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1


def _tighten(folder: Path, setting: str) -> None:
    _refuse_link(folder, setting)
    try:
        opened = os.open(folder, _OPEN_FOLDER)
    except OSError as exc:
        raise LocalDiskError(
            f"{folder} cannot be opened ({exc.strerror}); name another folder with {setting}"
        ) from exc
    try:
        found = os.fstat(opened)
        if found.st_uid != os.geteuid():
            raise LocalDiskError(
                f"{folder} belongs to user {found.st_uid}, and this process is user "
                f"{os.geteuid()}; name a folder of your own with {setting}"
            )
        if stat.S_IMODE(found.st_mode) != _PRIVATE:
            os.fchmod(opened, _PRIVATE)
    except OSError as exc:
        if isinstance(exc, LocalDiskError):
            raise
        raise LocalDiskError(
            f"{folder} cannot be closed to others ({exc.strerror}); name another folder with "
            f"{setting}"
        ) from exc
    finally:
        os.close(opened)


def _refuse_link(folder: Path, setting: str) -> None:
    if folder.is_symlink():
        raise LocalDiskError(
            f"{folder} is a link, which leads where others may write; name the folder itself with "
            f"{setting}"
        )
