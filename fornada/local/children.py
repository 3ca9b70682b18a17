"""The child processes of one stack: none outlives it, however the parent ends."""

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from fornada.errors import LocalDiskError, MissingExtraError
from fornada.local import watchdog
from fornada.local.child import Child
from fornada.local.credentials import write_private
from fornada.local.signals import signals_deferred
from fornada.records import Record

_LEFTOVER_GRACE_S = 5.0
#: How far a process's start may seem to move: Linux computes it from a boot time that is rounded.
_START_TOLERANCE_S = 2.0


class ProcessMark(Record):
    """A process by its number and its start, which a later one of that number does not share."""

    pid: int
    #: Seconds since the epoch; left out if the process had ended.
    began_s: float | None = None

    @classmethod
    def of(cls, pid: int) -> Self:
        """The mark of the process that has this number now.

        Raises:
            MissingExtraError: psutil is not installed.
        """
        return cls(pid=pid, began_s=_began_s(pid))

    def lives(self) -> bool:
        """Whether the process still runs."""
        began_s = _began_s(self.pid)
        if self.began_s is None or began_s is None:
            return False
        return abs(began_s - self.began_s) < _START_TOLERANCE_S


class _ProcessMarks(Record):
    """The record of a stack's processes, oldest first."""

    processes: list[ProcessMark]


class Children:
    """The processes of one stack, in the order of their start; a context manager.

    Leaving it ends them, youngest first. If this process dies first, a watchdog process ends them;
    if that one was killed too, the next start ends those in the record.

    Args:
        record_path: Records the living processes. The folder belongs to one `Children` at a time.
        signs_dir: Where worker processes, which lead sessions of their own, show that they live.
            Those that outlive their supervisor are ended too.
    """

    def __init__(self, *, record_path: Path, signs_dir: Path) -> None:
        self._record_path = record_path
        self._signs_dir = signs_dir
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        self._end_leftovers()
        with signals_deferred():
            self._watchdog = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable, "-I", "-S", watchdog.__file__, str(self._signs_dir)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        with signals_deferred():
            for child in self._children[::-1]:
                self.stop(child)
            watchdog.end_strays(self._signs_dir, grace_s=_LEFTOVER_GRACE_S)
            self._watchdog.communicate()

    def spawn(self, start: Callable[[], Child]) -> Child:
        """Own the child that `start` starts.

        Raises:
            StackError: The program cannot be run.
        """
        with signals_deferred():
            child = start()
            self._children.append(child)
            self._tell_watchdog(f"+{child.pid}")
            self._write_record()
        return child

    def stop(self, child: Child) -> None:
        """End the child and forget it."""
        with signals_deferred():
            child.stop()
            self._children.remove(child)
            self._tell_watchdog(f"-{child.pid}")
            # A full disk must not keep the other children alive; an extra mark does no harm.
            with contextlib.suppress(LocalDiskError):
                self._write_record()

    def _tell_watchdog(self, line: str) -> None:
        stream = self._watchdog.stdin
        # Without the watchdog the stack still ends in order.
        with contextlib.suppress(BrokenPipeError):
            if stream is not None:
                stream.write(f"{line}\n".encode())
                stream.flush()

    def _write_record(self) -> None:
        marks = _ProcessMarks(processes=[ProcessMark.of(child.pid) for child in self._children])
        write_private(self._record_path, marks.to_json())

    def _end_leftovers(self) -> None:
        if self._record_path.exists():
            record = _ProcessMarks.from_json(
                self._record_path.read_bytes(), where=str(self._record_path)
            )
            for mark in record.processes[::-1]:
                # The number alone proves nothing: another process may have it by now.
                if mark.lives():
                    watchdog.end_group(mark.pid, grace_s=_LEFTOVER_GRACE_S)
        watchdog.end_strays(self._signs_dir, grace_s=_LEFTOVER_GRACE_S)


def _began_s(pid: int) -> float | None:
    try:
        import psutil  # noqa: PLC0415 - the extra is optional
    except ImportError as exc:
        raise MissingExtraError(
            "psutil is not installed, and the embedded stack needs it; pip install 'fornada[local]'"
        ) from exc
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None
