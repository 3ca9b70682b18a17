"""Artifacts on this machine's disk."""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fornada.errors import FornadaError, LocalDiskError
from fornada.files.private_folder import is_private_file, make_private, open_private
from fornada.files.refusals import what_helps
from fornada.logs import get_logger
from fornada.records import sha256_of_file

log = get_logger(__name__)

#: Writes an artifact into a file, all of it or nothing.
Fetch = Callable[[Path], object]


class ArtifactCache:
    """Artifacts on this machine's disk, by digest; shared by its worker processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, digest: str) -> Path | None:
        """The file of the artifact, if it is on disk and undamaged."""
        path = self._folder / "artifacts" / f"{digest}.keras"
        try:
            if is_private_file(path) and sha256_of_file(path) == digest:
                return path
        except OSError:
            return None
        log.warning("cached artifact is damaged, fetching it again", path=str(path))
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def get_or_fetch(self, digest: str, fetch: Fetch) -> Path:
        """The file of the artifact; one process of this machine fetches it while the others wait.

        Raises:
            LocalDiskError: The disk is full, or the folder is not writable.
        """
        found = self.get(digest)
        if found is not None:
            return found
        with self.locked(digest):
            return self.get(digest) or self._fetched(digest, fetch)

    def _fetched(self, digest: str, fetch: Fetch) -> Path:
        path = self.path("artifacts", f"{digest}.keras")
        try:
            fetch(path)
            path.chmod(0o600)
        except FornadaError:
            # Those of the store are errors of the system, too.
            raise
        except OSError as exc:
            raise _disk_error(f"cannot keep a model in {path.parent}", exc) from exc
        return path

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Let one process of this machine into blocks of this name at a time.

        Raises:
            LocalDiskError: As `get_or_fetch`.
        """
        path = self.path("locks", f"{name}.lock")
        try:
            file = open_private(path)
        except OSError as exc:
            raise _disk_error(f"cannot lock {path}", exc) from exc
        with file:
            # The system releases the lock however the process ends.
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def path(self, kind: str, name: str) -> Path:
        """The path of a file in the folder of its kind, which this user alone can read and write.

        Raises:
            LocalDiskError: The folder cannot be made, or is another user's.
        """
        folder = self._folder / kind
        for each in (self._folder, folder):
            make_private(each, setting="FORNADA_CACHE_DIR")
        return folder / name


def _disk_error(what: str, exc: OSError) -> LocalDiskError:
    return LocalDiskError(
        f"{what} ({exc.strerror}); {what_helps(exc)}, or set FORNADA_CACHE_DIR to another disk"
    )
