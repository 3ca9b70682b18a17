"""The descendants of a process: their memory and their end; complete on Linux only."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

_MIB = 2**20
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_INTERVAL_S = 0.25
_GRACE_S = 5.0
_PR_SET_CHILD_SUBREAPER = 36


@contextlib.contextmanager
def orphans_adopted() -> Iterator[None]:
    """Adopt grandchildren whose parent ends in the block, so that none escapes."""
    _set_subreaper(1)
    try:
        yield
    finally:
        _set_subreaper(0)


def _set_subreaper(value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, value, 0, 0, 0)


def below(pid: int) -> set[int]:
    """All descendants of `pid`."""
    return _below(pid, _children())


def _children() -> dict[int, list[int]]:
    """The children of every process."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    return children


def _below(pid: int, children: dict[int, list[int]]) -> set[int]:
    found: set[int] = set()
    todo = [pid]
    while todo:
        fresh = [child for child in children.get(todo.pop(), []) if child not in found]
        found.update(fresh)
        todo += fresh
    return found


def end_all(pids: set[int]) -> None:
    """End leftover processes: SIGTERM, then SIGKILL after a grace period."""
    deadline = time.monotonic() + _GRACE_S
    _signal(pids, signal.SIGTERM)
    while alive := {pid for pid in pids if _lives(pid)}:
        if time.monotonic() > deadline:
            _signal(alive, signal.SIGKILL)
        time.sleep(0.02)


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _lives(pid: int) -> bool:
    # Adopted processes are ours to reap.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return Path(f"/proc/{pid}").exists()


def _memory_bytes(pids: set[int]) -> int:
    """The memory of these processes; pages of files, which they may share, once."""
    found = [_of_process(pid) for pid in pids]
    own_bytes = sum(resident - of_files for resident, of_files in found)
    return own_bytes + max((of_files for _, of_files in found), default=0)


def _of_process(pid: int) -> tuple[int, int]:
    """Resident bytes, and those of them that are pages of files or shared memory."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        return int(fields[1]) * _PAGE_BYTES, int(fields[2]) * _PAGE_BYTES
    except (OSError, IndexError):
        # It has ended.
        return 0, 0


def cpu_s(pid: int) -> float:
    """CPU time of a process, of its descendants, and of those that ended as its children."""
    return sum(map(_cpu_s, {pid} | below(pid)))


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    # utime, stime, cutime and cstime.
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


class MemoryWatch:
    """Watches the resident memory of a process and its descendants; a context manager.

    Pages of files count once, as many as the process has that has the most: of processes with the
    same libraries these are the same pages.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        #: The serving process; it and its descendants have a peak of their own.
        self.service_pid: int | None = None
        self._peak_bytes = 0
        self._service_peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    @property
    def peak_mib(self) -> float:
        """Peak of all processes together."""
        return self._peak_bytes / _MIB

    @property
    def service_peak_mib(self) -> float:
        """Peak of the serving processes."""
        return self._service_peak_bytes / _MIB

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            children = _children()
            self._peak_bytes = max(self._peak_bytes, _of_tree(self._pid, children))
            if self.service_pid is not None:
                service_bytes = _of_tree(self.service_pid, children)
                self._service_peak_bytes = max(self._service_peak_bytes, service_bytes)


def _of_tree(pid: int, children: dict[int, list[int]]) -> int:
    return _memory_bytes({pid} | _below(pid, children))
