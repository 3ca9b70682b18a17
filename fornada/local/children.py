"""All child processes of one stack: none outlives it, however the parent ends."""

import contextlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from fornada.errors import LocalDiskError
from fornada.local import watchdog
from fornada.local.child import Child
from fornada.local.credentials import write_private
from fornada.local.process_table import ProcessMarks, mark_of
from fornada.local.signals import signals_deferred

_LEFTOVER_GRACE_S = 5.0


class Children:
    """The processes of one stack, in the order in which they began; a context manager.

    Leaving it ends them, the youngest first. If this process dies without leaving it, a watchdog
    process does the same; and if that one was killed too, the next start ends what it finds in
    the record.

    Args:
        record_path: Where the living are written down. Whoever enters has the folder alone.
        signs_dir: Where worker processes, which lead sessions of their own, show life. Those
            that outlive the process that minds them are ended too.
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

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with signals_deferred():
            for child in self._children[::-1]:
                self.stop(child)
            watchdog.end_strays(self._signs_dir, grace_s=_LEFTOVER_GRACE_S)
            self._watchdog.communicate()

    def spawn(
        self,
        *,
        name: str,
        argv: Sequence[str],
        environ: Mapping[str, str],
        output_path: Path,
        share_stderr: bool = False,
        stdin: bytes = b"",
        grace_s: float = 5.0,
    ) -> Child:
        """Begin a child; the arguments are those of `Child`.

        Raises:
            StackError: The program cannot be run.
        """
        with signals_deferred():
            child = Child(
                name=name,
                argv=argv,
                environ=environ,
                output_path=output_path,
                share_stderr=share_stderr,
                stdin=stdin,
                grace_s=grace_s,
            )
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
            # A full disk must not keep the others alive; a mark too many does no harm.
            with contextlib.suppress(LocalDiskError):
                self._write_record()

    def _tell_watchdog(self, line: str) -> None:
        stream = self._watchdog.stdin
        # Without its watchdog the stack still ends in order.
        with contextlib.suppress(BrokenPipeError):
            if stream is not None:
                stream.write(f"{line}\n".encode())
                stream.flush()

    def _write_record(self) -> None:
        marks = ProcessMarks(processes=[mark_of(child.pid) for child in self._children])
        write_private(self._record_path, marks.to_json())

    def _end_leftovers(self) -> None:
        if self._record_path.exists():
            record = ProcessMarks.from_json(
                self._record_path.read_bytes(), where=str(self._record_path)
            )
            for mark in record.processes[::-1]:
                # A number alone proves nothing: it may be another process's by now.
                if mark.began is not None and mark == mark_of(mark.pid):
                    watchdog.end_group(mark.pid, grace_s=_LEFTOVER_GRACE_S)
        watchdog.end_strays(self._signs_dir, grace_s=_LEFTOVER_GRACE_S)
