"""Heartbeats: a file that each worker process keeps fresh while it makes progress."""

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fornada.errors import LocalDiskError
from fornada.files.private_folder import make_private, open_private
from fornada.files.refusals import what_helps
from fornada.logs import get_logger

log = get_logger(__name__)

#: Interval between the event loop's heartbeats.
BEAT_INTERVAL_S = 2.0
#: A process whose file is older is dead or stopped: the watchdog would have ended it earlier.
STALE_AFTER_S = 90.0
#: Time until the first heartbeat: importing TensorFlow from a slow disk takes minutes.
START_LIMIT_S = 600.0
#: EX_TEMPFAIL of sysexits.h: the supervisor starts another process.
EXIT_RESTART = 75
#: The most that one look adds to the time for which a process has shown no life.
_STEP_S = 1.0


def worker_name(pid: int | None = None) -> str:
    """The name of this process in outcomes, leases and logs, or that of another one here."""
    return f"{socket.gethostname()}-{os.getpid() if pid is None else pid}"


class HealthFile:
    """`<folder>/workers/<name>.json`, touched at every beat, removed at a clean end."""

    def __init__(self, folder: Path, *, name: str) -> None:
        self._folder = folder
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
                os.utime(self._path, follow_symlinks=False)
            except FileNotFoundError:
                self._write()
        except LocalDiskError:
            raise
        except OSError as exc:
            raise LocalDiskError(
                f"cannot write {self._path} ({exc.strerror}); {what_helps(exc)}, or set "
                "FORNADA_CACHE_DIR to another disk"
            ) from exc

    def changed_at_ns(self) -> int | None:
        """When it was last touched, by the file system's clock; `None` if there is no file."""
        try:
            return self._path.lstat().st_mtime_ns
        except OSError:
            return None

    def remove(self) -> None:
        """Remove the file: the process has ended, or ends on purpose."""
        # If the disk refuses, the file is soon stale, and removed later.
        with suppress(OSError):
            self._path.unlink()

    def _write(self) -> None:
        part = self._path.with_suffix(".part")
        for folder in (self._folder, self._path.parent):
            make_private(folder, setting="FORNADA_CACHE_DIR")
        with open_private(part) as file:
            file.write(json.dumps({"worker": self._name, "pid": os.getpid()}).encode())
        part.replace(self._path)


class HeartbeatReader:
    """Measures for how long another process has shown no life."""

    def __init__(self, file: HealthFile, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._looked_at_s = clock()
        self._changed_at_ns: int | None = None
        #: Whether it has ever shown life.
        self.was_seen = False
        #: Time since its last heartbeat.
        self.still_s = 0.0

    def look(self) -> None:
        """Check for a heartbeat since the last look."""
        now_s = self._clock()
        # In a paused container, or on a sleeping laptop, both processes were stopped.
        self.still_s += min(now_s - self._looked_at_s, _STEP_S)
        self._looked_at_s = now_s
        changed_at_ns = self._file.changed_at_ns()
        if changed_at_ns not in (None, self._changed_at_ns):
            self._changed_at_ns, self.was_seen, self.still_s = changed_at_ns, True, 0.0


def live_and_stale(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the workers with fresh files in `folder`, and of those with stale ones."""
    live: list[str] = []
    stale: list[str] = []
    for path in sorted((folder / "workers").glob("*.json")):
        try:
            age_s = time.time() - path.lstat().st_mtime
        except FileNotFoundError:  # it just ended on purpose
            continue
        if age_s < STALE_AFTER_S:
            live.append(path.stem)
        elif _still_runs(path.stem):
            stale.append(path.stem)
        else:
            # It was killed; its successor has another file.
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
