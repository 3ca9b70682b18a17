"""A disk that a test can fill: a small tmpfs in its own mount namespace, without root."""

import contextlib
import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_ENTER = ["unshare", "--user", "--map-root-user", "--mount"]
_MOUNT = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && echo mounted && exec cat'
_FILLER_BYTES = 4096


class TinyDisk:
    """A small disk; `folder` is its root, visible to every process of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, name: str) -> None:
        """Grow the file `name` until no space is left."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(_FILLER_BYTES))
                except OSError as exc:
                    if exc.errno == errno.ENOSPC:
                        return
                    raise


@contextlib.contextmanager
def tiny_disk(mount_point: Path, *, size_bytes: int) -> Iterator[TinyDisk]:
    """A disk of `size_bytes`, for the length of the block; skips the test where none can be made.

    `mount_point` is an existing folder. Outside the namespace it stays empty: the disk is reached
    through the process that holds it.
    """
    try:
        holder = subprocess.Popen(
            [*_ENTER, "sh", "-c", _MOUNT, "sh", str(size_bytes), str(mount_point)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare(1)")
    with holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != b"mounted\n":
            pytest.skip("mount namespaces are not allowed here")
        # Leaving the block closes the holder's stdin, which ends its `cat`.
        yield TinyDisk(Path(f"/proc/{holder.pid}/root") / mount_point.relative_to("/"))
