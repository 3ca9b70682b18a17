"""Start worker processes, start them again when they die, and stop them in order."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType

from fornada.logs import get_logger

log = get_logger(__name__)

#: A process that lived this long has not failed at its start.
_STEADY_AFTER_S = 30.0
_MAX_BACKOFF_S = 30.0
_POLL_S = 0.2


class Supervisor:
    """Keeps `count` processes of `command` running until it is told to stop.

    A process that exits with 2 was started wrongly; another start would not help, so all stop.
    """

    def __init__(self, command: Sequence[str], *, count: int) -> None:
        self._command = list(command)
        self._slots = [_Slot(self._command) for _ in range(count)]
        self._stopping = threading.Event()

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit code."""
        previous = {s: signal.signal(s, self._on_signal) for s in (signal.SIGTERM, signal.SIGINT)}
        code = 0
        try:
            while not self._stopping.is_set():
                code = self._tend()
                if code:
                    break
                self._stopping.wait(_POLL_S)
        finally:
            self._stop()
            for number, handler in previous.items():
                signal.signal(number, handler)
        return code

    def _tend(self) -> int:
        """Start what is due; return the exit code of a process that was started wrongly."""
        for slot in self._slots:
            code = slot.tend()
            if code == 2:  # noqa: PLR2004 - wrong usage, as everywhere
                return code
        return 0

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        log.info("stopping workers", signal=signal.Signals(number).name)
        self._stopping.set()

    def _stop(self) -> None:
        # No limit of ours on how long they take: a shard is finished, or its deadline ends the
        # process; who wants less sends SIGKILL, and loses nothing.
        for slot in self._slots:
            slot.signal(signal.SIGTERM)
        for slot in self._slots:
            slot.wait()


class _Slot:
    """The place of one process."""

    def __init__(self, command: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._command = command
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._due_at = 0.0
        self._failures = 0

    def tend(self) -> int | None:
        """Start the process if it is due; return its exit code in the moment that it ends."""
        if self._process is None:
            if self._clock() >= self._due_at:
                # Its own group: a terminal's Ctrl-C reaches the supervisor alone, which stops
                # the workers in its turn.
                # The pipe closes when the supervisor is gone, however it went.
                self._process = subprocess.Popen(  # noqa: S603 - our own command
                    self._command, start_new_session=True, stdin=subprocess.PIPE
                )
                self._started_at = self._clock()
            return None
        code = self._process.poll()
        if code is None:
            return None
        lived_s = self._clock() - self._started_at
        self._failures = 0 if lived_s > _STEADY_AFTER_S else self._failures + 1
        # Of few failures only: a power of very many overflows.
        backoff_s = min(_MAX_BACKOFF_S, 2.0 ** min(self._failures, 10) - 1)
        log.warning("worker ended, starting another", code=code, lived_s=round(lived_s, 1))
        self.wait()
        self._process, self._due_at = None, self._clock() + backoff_s
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self) -> None:
        """Wait for the process to end."""
        if self._process is not None:
            self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()


def worker_command(*, threads: int) -> list[str]:
    """The command of one worker process that predicts on so many cores."""
    # -P: a folder `worker` where the user stands must not be taken for ours.
    return [sys.executable, "-P", "-m", "worker", "--threads", str(threads)]
