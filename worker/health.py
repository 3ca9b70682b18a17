"""Signs of life: a file that each worker process keeps fresh while it makes progress."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fornada.errors import LocalDiskError
from fornada.logs import get_logger

log = get_logger(__name__)

#: The event loop shows life this often,
BEAT_INTERVAL_S = 2.0
#: is taken for stuck after this long, as is a consumer that takes nothing, and its process ended;
STUCK_AFTER_S = 60.0
#: and a file this old says that not even that worked.
STALE_AFTER_S = 90.0
#: Until the first sign of life: TensorFlow's import takes minutes where disks are slow.
START_LIMIT_S = 600.0
#: EX_TEMPFAIL of sysexits.h: start me again.
EXIT_RESTART = 75
#: The longest step in which the stillness of another process is counted.
_STEP_S = 1.0


def worker_name(pid: int | None = None) -> str:
    """The name in outcomes and logs of this process, or of another on this machine."""
    return f"{socket.gethostname()}-{os.getpid() if pid is None else pid}"


class HealthFile:
    """`<folder>/workers/<name>.json`, touched at every beat, removed at a clean end."""

    def __init__(self, folder: Path, *, name: str) -> None:
        self._path = folder / "workers" / f"{name}.json"
        self._name = name

    def beat(self) -> None:
        """Show life.

        Raises:
            LocalDiskError: The folder cannot be written.
        """
        try:
            try:
                # Touched, not written: that also works on a disk that has filled up.
                os.utime(self._path)
            except FileNotFoundError:
                self._write()
        except OSError as exc:
            raise LocalDiskError(
                f"cannot write {self._path} ({exc.strerror}); free space there or set "
                "FORNADA_CACHE_DIR to another disk"
            ) from exc

    def changed_at_ns(self) -> int | None:
        """When it was last touched, by the file system's clock; `None` where there is none."""
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return None

    def remove(self) -> None:
        """Take the file away: the process has ended, or does so on purpose."""
        # Where the disk refuses that, the file is soon stale, and cleared away later.
        with suppress(OSError):
            self._path.unlink()

    def _write(self) -> None:
        part = self._path.with_suffix(".part")
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.write_text(json.dumps({"worker": self._name, "pid": os.getpid()}))
        part.replace(self._path)


class Pulse:
    """How long another process has shown no life, as seen by one that looks again and again."""

    def __init__(self, file: HealthFile, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._looked_at_s = clock()
        self._changed_at_ns: int | None = None
        #: Whether it has ever shown life.
        self.was_seen = False
        #: For how long it has not.
        self.still_s = 0.0

    def look(self) -> None:
        """See whether there was a beat since the last look."""
        now_s = self._clock()
        # While we ourselves stood still (a paused container, a laptop asleep), so did the other.
        self.still_s += min(now_s - self._looked_at_s, _STEP_S)
        self._looked_at_s = now_s
        changed_at_ns = self._file.changed_at_ns()
        if changed_at_ns not in (None, self._changed_at_ns):
            self._changed_at_ns, self.was_seen, self.still_s = changed_at_ns, True, 0.0


def live_and_stale(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the workers whose files in `folder` are fresh, and of those whose are not."""
    live: list[str] = []
    stale: list[str] = []
    for path in sorted((folder / "workers").glob("*.json")):
        try:
            age_s = time.time() - path.stat().st_mtime
        except FileNotFoundError:  # removed in between: it ended on purpose
            continue
        if age_s < STALE_AFTER_S:
            live.append(path.stem)
        elif _still_runs(path.stem):
            stale.append(path.stem)
        else:
            # It was killed; its successor has a file of its own.
            path.unlink(missing_ok=True)
    return live, stale


def _still_runs(name: str) -> bool:
    host, _, pid = name.rpartition("-")
    if host != socket.gethostname() or not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Activity:
    """What a process does: how many messages it has taken, how many shards are at work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.taken_count = 0
        self.running_count = 0

    def take(self) -> None:
        """A message came, whatever it holds."""
        with self._lock:
            self.taken_count += 1

    @contextmanager
    def running(self) -> Iterator[None]:
        """A shard is at work while the block runs."""
        with self._lock:
            self.running_count += 1
        try:
            yield
        finally:
            with self._lock:
                self.running_count -= 1


class Watchdog:
    """Ends the process when it has been stuck for a minute while Redis answers.

    A consumer can hang after a lost connection without any error. It is stuck when its event loop
    does not turn, or when it takes no message although the queue is never empty and no shard is at
    work: a live consumer is given one at once, however many others there are. A process that has a
    shard at work is left to the shard's deadline, so that ending it here costs no attempt.

    While Redis is away there is nothing to consume and nothing to mend by a restart, so that counts
    as life.
    """

    def __init__(
        self,
        *,
        file: HealthFile,
        activity: Activity,
        queue_length: Callable[[], int | None],
        end_process: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`queue_length` counts the messages that wait; `None` while Redis does not answer."""
        self._file = file
        self._activity = activity
        self._queue_length = queue_length
        self._end_process = end_process
        self._clock = clock
        self._turned_at_s = self._fed_at_s = clock()
        self._taken_count = 0
        self._stopping = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def beat(self) -> None:
        """Called by the event loop: it turns."""
        self._turned_at_s = self._clock()
        try:
            self._file.beat()
        except LocalDiskError as exc:
            log.warning("health file not written", error=str(exc))

    def expect_stop(self) -> None:
        """The event loop is about to end on purpose; what is held takes as long as it takes."""
        self._stopping = True

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching and take the file away."""
        self._stop.set()
        self._thread.join()
        self._file.remove()

    def check(self) -> None:
        """End the process if it is stuck."""
        # Not asked for at the end: a server that keeps silent would hold that up.
        queued = None if self._stopping else self._queue_length()
        if queued is None:
            self._fed_at_s = self._clock()
            self.beat()
            return
        taken_count, now_s = self._activity.taken_count, self._clock()
        if not queued or self._activity.running_count or taken_count != self._taken_count:
            self._fed_at_s, self._taken_count = now_s, taken_count
        if now_s - self._turned_at_s >= STUCK_AFTER_S:
            log.error("event loop stands still, ending for a restart", stuck_s=STUCK_AFTER_S)
            self._end_process()
        elif now_s - self._fed_at_s >= STUCK_AFTER_S:
            log.error(
                "no message taken from a queue that has some, ending for a restart",
                stuck_s=STUCK_AFTER_S,
                queued=queued,
            )
            self._end_process()

    def _run(self) -> None:
        while not self._stop.wait(BEAT_INTERVAL_S):
            self.check()
