"""Start worker processes, replace those that die or hang, and stop them in order."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from fornada.events import SILENT, Events
from fornada.events.processes import EndReason, WorkerEnded, WorkerKilled
from fornada.logs import get_logger
from worker.host.health import (
    EXIT_RESTART,
    STALE_AFTER_S,
    START_LIMIT_S,
    HealthFile,
    HeartbeatReader,
    worker_name,
)

log = get_logger(__name__)

#: A process that showed life and ran this long did not fail at its start.
_STEADY_AFTER_S = 10.0
_MAX_BACKOFF_S = 30.0
_POLL_S = 0.2
#: glibc returns a shard's memory to the kernel, and getting it back costs as much as hashing it:
#: 7 ms for 8 MB. Up to these sizes a process keeps it for the next shard.
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(256 * 1024 * 1024),
    # Of further arenas glibc never returns the end, which dropped models held.
    "MALLOC_ARENA_MAX": "1",
}


class Supervisor:
    """Keeps processes of `command` running until SIGTERM or SIGINT.

    A process that exits with 2 was started wrongly: another start would not help, so all stop.
    A process that shows no life, because it was stopped or native code holds the interpreter,
    neither ends itself nor obeys SIGTERM. It is killed, and its shards' leases run out.

    Args:
        command: Starts one process.
        environs: One process each, with these additions to our environment.
        cache_dir: Where the processes keep their health files.
        stale_after_s: How long a process may show no life.
        start_limit_s: How long it may take to its first heartbeat.
        events: Hears of processes that ended or were killed.
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
        """Start the processes that are due; return 2 if one was started wrongly, else 0."""
        for slot in self._slots:
            code = slot.tend()
            if code == 2:  # noqa: PLR2004 - wrong usage, as everywhere
                return code
        return 0

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        log.info("stopping workers", signal=signal.Signals(number).name)
        self._stopping.set()

    def _stop(self) -> None:
        # Processes that show life may take their time: each finishes its shards, or a deadline
        # ends it. SIGKILL is quicker, and loses nothing either.
        for slot in self._slots:
            slot.stop()
        while any([slot.is_running() for slot in self._slots]):  # noqa: C419 - look at every slot
            time.sleep(_POLL_S)


class _Slot:
    """A slot for one process at a time."""

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
        """Start the process if it is due; return its exit code once, when it has ended."""
        if self._process is None:
            if self._clock() >= self._due_at:
                self._start()
            return None
        code = self._look(self._process)
        if code is None:
            return None
        lived_s = self._clock() - self._started_at
        steady = self._heartbeat.was_seen and lived_s > _STEADY_AFTER_S
        self._failures = 0 if steady else self._failures + 1
        # A power of many failures would overflow.
        backoff_s = min(_MAX_BACKOFF_S, 2.0 ** min(self._failures, 10) - 1)
        self._events.tell(
            WorkerEnded(slot=self._number, reason=self._reason(code), code=code, lived_s=lived_s)
        )
        self._process, self._due_at = None, self._clock() + backoff_s
        return code

    def _reason(self, code: int) -> EndReason:
        if self._was_killed:
            return EndReason.NO_LIFE
        if code < 0:
            return EndReason.SIGNAL
        return EndReason.ASKED if code == EXIT_RESTART else EndReason.FAILED

    def stop(self) -> None:
        """Send the process SIGTERM, if it runs."""
        self._stopping = True
        if self._process is not None:
            self._process.terminate()

    def is_running(self) -> bool:
        """Whether the process runs; kills it if it shows no life."""
        return self._process is not None and self._look(self._process) is None

    def _start(self) -> None:
        # In its own session, Ctrl-C reaches the supervisor alone, which then stops the workers.
        # The pipe closes when the supervisor ends for any reason.
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            self._command,
            start_new_session=True,
            stdin=subprocess.PIPE,
            env={**_MALLOC, **os.environ, **self._environ},
        )
        self._health_file = HealthFile(self._cache_dir, name=worker_name(self._process.pid))
        # An earlier process may have had this number: a new container counts from 1 again.
        self._health_file.remove()
        self._heartbeat = HeartbeatReader(self._health_file, clock=self._clock)
        self._started_at = self._clock()
        self._was_killed = False

    def _look(self, process: "subprocess.Popen[bytes]") -> int | None:
        """Return its exit code if it has ended; kill it if it shows no life."""
        code = process.poll()
        if code is not None:
            if process.stdin is not None:
                process.stdin.close()
            self._health_file.remove()
            return code
        self._heartbeat.look()
        # A process that never showed life holds no shards, so stopping need not wait for it.
        waits_for_start = not self._heartbeat.was_seen and not self._stopping
        limit_s = self._start_limit_s if waits_for_start else self._stale_after_s
        if self._heartbeat.still_s > limit_s:
            self._events.tell(WorkerKilled(slot=self._number, pid=process.pid, still_s=limit_s))
            process.kill()
            self._was_killed = True
            # Give it a moment to end.
            self._heartbeat.still_s = 0.0
        return None


def worker_command(*, threads: int) -> list[str]:
    """The command of one worker process that predicts on `threads` cores."""
    # -P ignores a folder `worker` in the user's working directory.
    return [sys.executable, "-P", "-m", "worker", "--threads", str(threads)]
