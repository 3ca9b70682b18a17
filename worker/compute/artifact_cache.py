"""Artifacts on this machine's disk."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fornada.errors import LocalDiskError
from fornada.logs import get_logger
from fornada.records import sha256_hex

log = get_logger(__name__)


class ArtifactCache:
    """Artifacts on this machine's disk, by digest; shared by its worker processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, digest: str) -> bytes | None:
        """The artifact, if it is on disk and undamaged."""
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if sha256_hex(data) == digest:
            return data
        log.warning("cached artifact is damaged, fetching it again", path=str(path))
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def get_or_fetch(self, digest: str, fetch: Callable[[], bytes]) -> bytes:
        """The artifact; one process of this machine fetches it while the others wait.

        Raises:
            LocalDiskError: The disk is full, or the folder is not writable.
        """
        found = self.get(digest)
        if found is not None:
            return found
        with self._locked(digest):
            found = self.get(digest)
            if found is None:
                found = fetch()
                self.put(digest, found)
            return found

    def put(self, digest: str, data: bytes) -> None:
        """Keep the artifact; other processes see all of it or nothing.

        Raises:
            LocalDiskError: The disk is full, or the folder is not writable.
        """
        path = self._path(digest)
        part: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, part = tempfile.mkstemp(dir=path.parent, prefix=".part-")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(part).replace(path)
        except OSError as exc:
            if part is not None:
                Path(part).unlink(missing_ok=True)
            what = f"cannot keep a model of {len(data)} bytes in {path.parent}"
            raise _disk_error(what, exc) from exc

    @contextmanager
    def _locked(self, digest: str) -> Iterator[None]:
        path = self._folder / "locks" / f"{digest}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = path.open("wb")
        except OSError as exc:
            raise _disk_error(f"cannot lock {path}", exc) from exc
        with file:
            # The system releases the lock however the process ends.
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _path(self, digest: str) -> Path:
        return self._folder / "artifacts" / f"{digest}.keras"


def _disk_error(what: str, exc: OSError) -> LocalDiskError:
    return LocalDiskError(
        f"{what} ({exc.strerror}); free space there or set FORNADA_CACHE_DIR to another disk"
    )
