"""The files of a data set in Keras's cache: whether they are present and genuine.

Keras opens some of them with a pickle reader. So every file that always has the same bytes is
compared with its known sha256 before Keras opens it.
"""

import contextlib
import gzip
import hashlib
import os
import socket
import tempfile
import threading
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fornada.errors import DatasetUnavailableError

_PROBE_TIMEOUT_S = 3.0
#: Longest silence of the server during a download.
_DOWNLOAD_TIMEOUT_S = 15.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CachedFile:
    """A file of a data set."""

    #: Its name in Keras's cache.
    name: str
    #: Its name on the server, if that differs.
    served_as: str | None = None
    #: Of the one file that Keras accepts; `None`: Keras accepts any.
    sha256: str | None = None

    @property
    def instruction(self) -> str:
        """What to download, and under which name to store it."""
        return f"{self.served_as} as {self.name}" if self.served_as else self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class CachedFiles:
    """The files of one data set, and where Keras downloads them from."""

    dataset: str
    files: Sequence[CachedFile]
    download_url: str
    #: Folder in the cache.
    folder: str = "datasets"

    def check(self) -> None:
        """Check that each file is genuine, or can be downloaded.

        Raises:
            DatasetUnavailableError: One is not, or is missing and there is no network.
        """
        for file in self.files:
            self._check_sha256(file)
        if self._missing() and not reachable(self.download_url, timeout_s=_PROBE_TIMEOUT_S):
            raise self._unavailable()

    def error(self, exc: Exception) -> DatasetUnavailableError:
        """The reason that Keras raised `exc` when it read the files."""
        for file in self.files:
            path = self.path(file)
            if path.suffix == ".gz" and path.exists() and not _gzip_is_whole(path):
                return DatasetUnavailableError(
                    f"{path} is truncated or damaged; delete it to download it again"
                )
        if self._missing():
            return self._unavailable()
        first_line = (str(exc).splitlines() or [type(exc).__name__])[0][:200]
        return self.mismatch(first_line)

    def mismatch(self, fact: str) -> DatasetUnavailableError:
        """The error for files that do not belong together."""
        return DatasetUnavailableError(
            f"the files of data set {self.dataset} in {keras_cache() / self.folder} do not belong "
            f"together ({fact}); delete them to download them again"
        )

    def path(self, file: CachedFile) -> Path:
        """The file's place in the cache."""
        return keras_cache() / self.folder / file.name

    def _missing(self) -> list[CachedFile]:
        return [file for file in self.files if not self.path(file).exists()]

    def _check_sha256(self, file: CachedFile) -> None:
        path = self.path(file)
        if file.sha256 is None or not path.exists():
            return
        try:
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as exc:
            raise DatasetUnavailableError(
                f"{path} cannot be read ({exc.strerror or exc}); change its permissions, or delete "
                "it to download it again"
            ) from exc
        if found != file.sha256:
            raise DatasetUnavailableError(
                f"{path} is not the file that Keras publishes (its sha256 is {found}, expected "
                f"{file.sha256}); delete it to download it again"
            )

    def _unavailable(self) -> DatasetUnavailableError:
        missing = self._missing()
        return DatasetUnavailableError(
            f"data set {self.dataset} is not cached ({len(missing)} of {len(self.files)} files "
            f"missing in {keras_cache() / self.folder}) and {self.download_url} does not answer; "
            f"put {', '.join(file.instruction for file in missing)} into that folder, or use "
            "--dataset digits, which needs no network"
        )


def keras_cache() -> Path:
    """The folder of Keras's cache, found by Keras's own rules."""
    home = Path("~").expanduser()
    if "KERAS_HOME" in os.environ:
        cache = Path(os.environ["KERAS_HOME"]).expanduser()
    else:
        cache = (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras"  # noqa: S108 - Keras's choice
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
    if os.access(cache, os.W_OK):
        return cache
    # Keras does not read a cache that it cannot write.
    temporary = Path("/tmp")  # noqa: S108 - Keras's choice
    return (temporary if temporary.is_dir() else Path(tempfile.gettempdir())) / ".keras"


def reachable(url: str, *, timeout_s: float) -> bool:
    """Whether the host of `url` answers within `timeout_s`, through the proxy if one is set."""
    answers: list[bool] = []

    def probe() -> None:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - a constant, https
        try:
            with urllib.request.urlopen(request, timeout=timeout_s):  # noqa: S310
                answers.append(True)
        except urllib.error.HTTPError as exc:
            # The folder has no page of its own. A proxy refuses with 407 or 5xx.
            answers.append(exc.code in {400, 403, 404, 405})
        except (OSError, ValueError):
            answers.append(False)

    # Resolving a name has no timeout, hence a thread that can be abandoned.
    thread = threading.Thread(target=probe, daemon=True, name="dataset-probe")
    thread.start()
    thread.join(timeout_s)
    return any(answers)


@contextlib.contextmanager
def download_timeout() -> Iterator[None]:
    """Time out downloads whose server falls silent; Keras sets no timeout."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _gzip_is_whole(path: Path) -> bool:
    try:
        with gzip.open(path) as file:
            while file.read(1024 * 1024):
                pass
    except (OSError, EOFError, zlib.error):
        return False
    return True
