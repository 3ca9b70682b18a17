"""Start worker processes, start them again when they die or hang, and stop them in order."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from fornada.events import SILENT, Events, WorkerEnded, WorkerKilled
from fornada.logs import get_logger
from worker.host.health import (
    STALE_AFTER_S,
    START_LIMIT_S,
    HealthFile,
    HeartbeatReader,
)
from worker.host.identity import worker_name

log = get_logger(__name__)

#: A process that showed life and lived this long has not failed at its start.
_STEADY_AFTER_S = 10.0
_MAX_BACKOFF_S = 30.0
_POLL_S = 0.2
#: glibc gives the memory of a shard back to the kernel after each, and taking it again costs as
#: much as hashing it: 7 ms for 8 MB. Up to these sizes a process keeps it for the next shard.
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(256 * 1024 * 1024),
}


class Supervisor:
    """Keeps processes of `command` running until it is told to stop.

    A process that exits with 2 was started wrongly; another start would not help, so all stop.
    One that shows no life any more (it was stopped, or native code holds the interpreter) can
    neither end itself nor heed SIGTERM: it is killed. Its shards' leases run out.

    Args:
        command: Starts one process.
        environs: One process for each; what it has in its environment beside ours.
        cache_dir: Where they show life.
        stale_after_s: How long a process may show no life.
        start_limit_s: How long it may take until it first does.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environs: Sequence[Mapping[str, str]],
        cache_dir: Path,
        stale_after_s: float = STALE_AFTER_S,
        start_limit_s: float = START_LIMIT_S,
        events: Events = SILENT,
    ) -> None:
        self._slots = [
            _Slot(
                command,
                number=number,
                environ=environ,
                cache_dir=cache_dir,
                stale_after_s=stale_after_s,
                start_limit_s=start_limit_s,
                events=events,
            )
            for number, environ in enumerate(environs)
        ]
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
        # No limit of ours on how long they take while they show life: a shard is finished, or its
        # deadline ends the process; who wants less sends SIGKILL, and loses nothing.
        for slot in self._slots:
            slot.stop()
        while any([slot.is_running() for slot in self._slots]):  # noqa: C419 - all are looked at
            time.sleep(_POLL_S)


class _Slot:
    """The place of one process."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        number: int,
        environ: Mapping[str, str],
        cache_dir: Path,
        stale_after_s: float,
        start_limit_s: float,
        events: Events = SILENT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = list(command)
        self._number = number
        self._events = events
        self._environ = dict(environ)
        self._cache_dir = cache_dir
        self._stale_after_s = stale_after_s
        self._start_limit_s = start_limit_s
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._due_at = 0.0
        self._failures = 0
        self._stopping = False

    def tend(self) -> int | None:
        """Start the process if it is due; return its exit code in the moment that it ends."""
        if self._process is None:
            if self._clock() >= self._due_at:
                self._start()
            return None
        code = self._look(self._process)
        if code is None:
            return None
        lived_s = self._clock() - self._started_at
        steady = self._pulse.was_seen and lived_s > _STEADY_AFTER_S
        self._failures = 0 if steady else self._failures + 1
        # Of few failures only: a power of very many overflows.
        backoff_s = min(_MAX_BACKOFF_S, 2.0 ** min(self._failures, 10) - 1)
        self._events.tell(WorkerEnded(slot=self._number, code=code, lived_s=lived_s))
        self._process, self._due_at = None, self._clock() + backoff_s
        return code

    def stop(self) -> None:
        """Send the process SIGTERM, if it runs."""
        self._stopping = True
        if self._process is not None:
            self._process.terminate()

    def is_running(self) -> bool:
        """Whether there is a process; one that shows no life is killed."""
        return self._process is not None and self._look(self._process) is None

    def _start(self) -> None:
        # Its own group: a terminal's Ctrl-C reaches the supervisor alone, which stops the workers
        # in its turn. The pipe closes when the supervisor is gone, however it went.
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            self._command,
            start_new_session=True,
            stdin=subprocess.PIPE,
            env={**_MALLOC, **os.environ, **self._environ},
        )
        self._sign = HealthFile(self._cache_dir, name=worker_name(self._process.pid))
        # Of an earlier process of that number; numbers start anew with a container.
        self._sign.remove()
        self._pulse = HeartbeatReader(self._sign, clock=self._clock)
        self._started_at = self._clock()

    def _look(self, process: "subprocess.Popen[bytes]") -> int | None:
        """Its exit code if it has ended; kill it if it shows no life."""
        code = process.poll()
        if code is not None:
            if process.stdin is not None:
                process.stdin.close()
            self._sign.remove()
            return code
        self._pulse.look()
        # One that never showed life holds nothing: it need not be waited for at the end.
        waits_for_start = not self._pulse.was_seen and not self._stopping
        limit_s = self._start_limit_s if waits_for_start else self._stale_after_s
        if self._pulse.still_s > limit_s:
            self._events.tell(WorkerKilled(slot=self._number, pid=process.pid, still_s=limit_s))
            process.kill()
            # It has a moment to go.
            self._pulse.still_s = 0.0
        return None


def worker_command(*, threads: int) -> list[str]:
    """The command of one worker process that predicts on so many cores."""
    # -P: a folder `worker` where the user stands must not be taken for ours.
    return [sys.executable, "-P", "-m", "worker", "--threads", str(threads)]
