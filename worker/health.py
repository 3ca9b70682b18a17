"""Signs of life: a file that each worker process keeps fresh while it makes progress."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fornada.errors import LocalDiskError
from fornada.logs import get_logger

log = get_logger(__name__)

#: The event loop shows life this often,
BEAT_INTERVAL_S = 2.0
#: is taken for stuck after this long, and its process ended,
STUCK_AFTER_S = 60.0
#: and a file this old says that not even that worked.
STALE_AFTER_S = 90.0
#: EX_TEMPFAIL of sysexits.h: start me again.
EXIT_RESTART = 75


def worker_name() -> str:
    """This process's name in outcomes and logs."""
    return f"{socket.gethostname()}-{os.getpid()}"


class HealthFile:
    """`<folder>/workers/<name>.json`, written anew at every beat, removed at a clean end."""

    def __init__(self, folder: Path, *, name: str) -> None:
        self._path = folder / "workers" / f"{name}.json"
        self._name = name

    def beat(self) -> None:
        """Show life.

        Raises:
            LocalDiskError: The folder cannot be written.
        """
        part = self._path.with_suffix(".part")
        body = json.dumps({"worker": self._name, "pid": os.getpid(), "at": time.time()})
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part.write_text(body)
            part.replace(self._path)
        except OSError as exc:
            raise LocalDiskError(
                f"cannot write {self._path} ({exc.strerror}); free space there or set "
                "FORNADA_CACHE_DIR to another disk"
            ) from exc

    def remove(self) -> None:
        """Take the file away: this process ends on purpose."""
        self._path.unlink(missing_ok=True)


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


class Watchdog:
    """Ends the process when its event loop has shown no life for a minute and Redis answers.

    A consumer can hang after a lost connection without any error. While Redis itself is away
    there is nothing to consume and nothing to mend by a restart, so that counts as life.
    """

    def __init__(
        self,
        *,
        file: HealthFile,
        broker_answers: Callable[[], bool],
        end_process: Callable[[], None],
    ) -> None:
        self._file = file
        self._broker_answers = broker_answers
        self._end_process = end_process
        self._last_beat = time.monotonic()
        self._stopping = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def beat(self) -> None:
        """Called by the event loop: it turns."""
        self._last_beat = time.monotonic()
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
        if time.monotonic() - self._last_beat < STUCK_AFTER_S:
            return
        if self._stopping or not self._broker_answers():
            self.beat()
            return
        log.error("no progress, ending for a restart", stuck_s=STUCK_AFTER_S)
        self._end_process()

    def _run(self) -> None:
        while not self._stop.wait(BEAT_INTERVAL_S):
            self.check()
