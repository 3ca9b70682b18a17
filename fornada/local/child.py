"""One child process: its own session, its output in a file, and a reliable end."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fornada.errors import StackError

_TAIL_BYTES = 1500
_POLL_S = 0.02


class Child:
    """A running child process.

    It leads its own session, so that Ctrl-C in a terminal reaches only the parent, which ends its
    children in order.

    Args:
        name: Its name in messages.
        argv: Program and arguments; no secrets, since any user can list them.
        environ: Its whole environment.
        output_path: Receives its stdout, and its stderr unless `share_stderr`.
        share_stderr: Whether its stderr is the parent's, to show progress.
        stdin: Its standard input; at most 4 KiB, which any pipe buffers.
        grace_s: Time between SIGTERM and SIGKILL.

    Raises:
        StackError: The program cannot be run.
    """

    def __init__(
        self,
        *,
        name: str,
        argv: Sequence[str],
        environ: Mapping[str, str],
        output_path: Path,
        share_stderr: bool = False,
        stdin: bytes = b"",
        grace_s: float = 5.0,
    ) -> None:
        self.name = name
        self.grace_s = grace_s
        self.output_path = output_path
        try:
            with output_path.open("wb") as output:
                self._process = subprocess.Popen(  # noqa: S603 - our own servers and commands
                    argv,
                    env=dict(environ),
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=None if share_stderr else output,
                    start_new_session=True,
                )
        except OSError as exc:
            raise StackError(
                f"{name} cannot be started: {exc}; check {argv[0]} and {output_path.parent}"
            ) from exc
        stream = self._process.stdin
        # A child that has died already is reported by `wait`.
        with contextlib.suppress(BrokenPipeError):
            if stream is not None:
                stream.write(stdin)
                stream.close()

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its group and session."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """The exit code; `None` while it runs."""
        return self._process.poll()

    def output_tail(self) -> str:
        """The end of its output, for messages."""
        try:
            data = self.output_path.read_bytes()[-_TAIL_BYTES:]
        except OSError:
            return ""
        return data.decode(errors="replace").strip()

    def wait(self, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait until `ready()`.

        Raises:
            StackError: The child ended, or was not ready in time; with the end of its output.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            # First, because an answer counts only from a child that lives.
            code = self.exit_code()
            if code is not None:
                raise StackError(self._complaint(f"ended with code {code} instead of serving"))
            if ready():
                return
            if time.monotonic() > deadline:
                raise StackError(self._complaint(f"was not ready within {timeout_s:g} s"))
            time.sleep(_POLL_S)

    def finish(self) -> int:
        """Wait until it ends by itself; return its exit code."""
        return self._process.wait()

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL after the grace, also to what it left in its group."""
        if self.exit_code() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self.grace_s)
        # macOS answers EPERM for a group of zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def _complaint(self, fact: str) -> str:
        tail = self.output_tail() or "(nothing)"
        return f"{self.name} {fact}; the end of its log {self.output_path}:\n{tail}"
