"""Temporary folders that outlive no process: what a killed one left is removed by the next."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

#: No user gives a folder such a name, so whatever is called so may be removed.
_PREFIX = ".fornada-scratch-"
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """A folder for this user alone that is gone after the block.

    Args:
        parent: The folder to make it in. `None`: the system's temporary folder.

    Raises:
        OSError: It cannot be made.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    remove_leftovers(parent)
    with ExitStack() as held:
        folder = None
        while folder is None:
            folder = _made_and_locked(parent, held)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(parent: Path) -> None:
    """Remove the folders in `parent` whose processes were killed."""
    with suppress(OSError), os.scandir(parent) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(_PREFIX)]
        for name in names:
            with suppress(OSError):
                _remove_if_left(parent / name)


def _made_and_locked(parent: Path, held: ExitStack) -> Path | None:
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    opened = _opened(folder)
    if opened is None:
        return None
    held.callback(os.close, opened)
    # The system releases the lock however the process ends. File systems without locks keep what
    # was left.
    with suppress(OSError):
        fcntl.flock(opened, fcntl.LOCK_EX)
    # Another process may have removed it before it was locked.
    return folder if folder.exists() else None


def _remove_if_left(folder: Path) -> None:
    opened = _opened(folder)
    if opened is None:
        return
    try:
        if os.fstat(opened).st_uid != os.geteuid():
            return
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(opened)


def _opened(folder: Path) -> int | None:
    try:
        return os.open(folder, _OPEN_FOLDER)
    except FileNotFoundError:
        return None
