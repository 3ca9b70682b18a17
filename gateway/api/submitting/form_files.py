"""The files of a form as a job's items: images pass through, other files wait on the disk."""

import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from fornada.errors import FornadaError, InputError, LocalDiskError
from producer.inputs.file_kinds import has_image_suffix
from producer.inputs.interface import ImageFile

#: One image.
MOST_IMAGE_BYTES = 32 * 1024 * 1024
#: Images that came and were not taken yet.
_MOST_WAITING_BYTES = 32 * 1024 * 1024
#: Files of one form that wait on the disk.
_MOST_FILES = 1000
_MOST_NAME_BYTES = 255


class ImageFeed:
    """Images that one thread gives and another takes, a few at a time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[ImageFile] = deque()
        self._waiting_bytes = 0
        self._has_ended = False
        self._is_abandoned = False
        self._error: FornadaError | None = None

    def __iter__(self) -> Iterator[ImageFile]:
        """The images, as they come.

        Raises:
            FornadaError: Why there are no more.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._has_ended)
                if not self._waiting:
                    break
                image = self._waiting.popleft()
                self._waiting_bytes -= len(image.data)
                self._changed.notify_all()
            yield image
        if self._error is not None:
            raise self._error

    def put(self, image: ImageFile) -> bool:
        """Give an image; waits for room. Whether anybody still takes them."""
        with self._changed:
            self._changed.wait_for(self._has_room)
            self._waiting.append(image)
            self._waiting_bytes += len(image.data)
            self._changed.notify_all()
            return not self._is_abandoned

    def end(self, error: FornadaError | None = None) -> None:
        """Say that there are no more, and why if that is an error."""
        with self._changed:
            self._has_ended, self._error = True, error
            self._changed.notify_all()

    def abandon(self) -> None:
        """Say that nobody takes any more."""
        with self._changed:
            self._is_abandoned = True
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._is_abandoned or self._waiting_bytes < _MOST_WAITING_BYTES


class Spool:
    """Files on the disk, until all of them came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file_bytes = bytearray()
        self.paths: list[Path] = []
        self._names: set[str] = set()

    def begin(self, name: str) -> None:
        """Begin a file; only the last part of its name is used.

        Raises:
            InputError: It has no name, or another file has it; or there are too many.
        """
        given = name.replace("\\", "/").rpartition("/")[2]
        is_name = given not in {"", ".", ".."} and given.isprintable()
        if not is_name or len(given.encode()) > _MOST_NAME_BYTES or given in self._names:
            raise InputError(
                f"a file is named {name[:80]!r}; give each a name of its own, of "
                f"{_MOST_NAME_BYTES} bytes at most"
            )
        if len(self.paths) >= _MOST_FILES:
            raise InputError(
                f"the form has more than {_MOST_FILES} files that are not images; send an archive, "
                "or put files into the store, with POST /v1/uploads"
            )
        self._names.add(given)
        self.paths.append(self.folder / given)
        self.paths[-1].touch()

    def write(self, data: bytes) -> None:
        """Add bytes to the file.

        Raises:
            LocalDiskError: The gateway's disk is full.
        """
        try:
            with self.paths[-1].open("ab") as file:
                file.write(data)
        except OSError as exc:
            raise LocalDiskError(
                f"the gateway's disk takes no more of the form ({exc.strerror}); free space "
                "there, or put files into the store, with POST /v1/uploads"
            ) from exc


def is_passed_through(name: str) -> bool:
    """Whether a file becomes part of a shard as it comes; others are read from the disk."""
    return has_image_suffix(name) or "." not in name
