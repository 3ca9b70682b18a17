"""A child process that answers each line it is asked with a line, or is ended."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_POLL_S = 0.01
#: From <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1


class ChildProcess:
    """A running program; it is ended with all that it started.

    Args:
        command: The program and its arguments.
        cwd: Where it runs; `None`: here.
        environ: Its whole environment; `None`: ours.
        stderr: What takes its stderr; `None`: ours.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
        stderr: IO[bytes] | None = None,
    ) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=cwd,
            env=environ,
            # What it starts is ended with it.
            start_new_session=True,
        )
        #: Whether it was ended because an answer took too long.
        self.is_late = False

    def ask(self, line: bytes, *, within_s: float, most_bytes: int = -1) -> bytes:
        """Its answer: a line with its end, or what there was before it ended or became too long.

        Args:
            line: The question, without its end.
            within_s: A process that takes longer is ended.
            most_bytes: Of an answer.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            return b""
        timer = threading.Timer(within_s, self._run_out)
        timer.start()
        try:
            # A process that is gone reads nothing, and its answer is empty.
            with contextlib.suppress(BrokenPipeError):
                stdin.write(line + b"\n")
                stdin.flush()
            return stdout.readline(most_bytes)
        finally:
            timer.cancel()

    def end(self, *, within_s: float = 0.0) -> int:
        """Close its pipes, and kill what has not ended `within_s`; return its exit code."""
        if self._process.returncode is not None:
            return self._process.returncode
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        until_s = time.monotonic() + within_s
        while not self._has_ended() and time.monotonic() < until_s:
            time.sleep(_POLL_S)
        self._kill()
        return self._process.wait()

    def _run_out(self) -> None:
        self.is_late = not self._has_ended()
        self._kill()

    def _has_ended(self) -> bool:
        # Without waiting for it, after which its number may be another's.
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, options) is not None

    def _kill(self) -> None:
        """End it with all that it started; it stays ours until it is waited for."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def end_with_parent() -> None:
    """Have the kernel end this process with its parent: hung native code reads no stdin."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
