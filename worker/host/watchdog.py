"""End a process that makes no progress."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fornada.errors import LocalDiskError
from fornada.logs import get_logger
from worker.host.health import BEAT_INTERVAL_S, HealthFile

log = get_logger(__name__)

#: A process is stuck if its event loop, or its consumer, has stalled for this long.
STUCK_AFTER_S = 60.0


class Activity:
    """How many messages the process has taken, and how many shards are at work."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.is_ending = False
        self.taken_count = 0
        self.running_count = 0

    def take(self) -> None:
        """Count a message, whatever it holds."""
        with self._changed:
            self.taken_count += 1

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count a shard as at work while the block runs."""
        with self._changed:
            # Its message goes back to the queue with the end of the process.
            self._changed.wait_for(lambda: not self.is_ending)
            self.running_count += 1
        try:
            yield
        finally:
            with self._changed:
                self.running_count -= 1
                self._changed.notify_all()

    def end(self, *, within_s: float) -> None:
        """Let no further shard begin, and return once none is at work, or the time is over."""
        with self._changed:
            self.is_ending = True
            self._changed.wait_for(lambda: not self.running_count, timeout=within_s)


class Watchdog:
    """Ends the process when it has been stuck for a minute while Redis answers.

    A consumer can hang after a lost connection without any error. It is stuck when its event loop
    does not turn, or when it takes no message although the queue is never empty and no shard is at
    work: Redis gives a waiting consumer a message at once, however many others wait. A process
    with a shard at work is left to the shard's deadline, so a restart costs no attempt.

    Without Redis there is nothing to consume, and a restart would not help: the process counts as
    live.
    """

    def __init__(
        self,
        *,
        file: HealthFile,
        activity: Activity,
        queue_length: Callable[[], int | None],
        end_process: Callable[[], None],
        on_idle: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch a process.

        Args:
            file: Where it shows life.
            activity: What it takes.
            queue_length: Returns the number of waiting messages, or `None` without Redis.
            end_process: Ends the process.
            on_idle: Called once after work, when a beat has passed without any.
            clock: In seconds.
        """
        self._file = file
        self._activity = activity
        self._queue_length = queue_length
        self._end_process = end_process
        self._on_idle = on_idle
        self._rested_count = self._seen_count = 0
        self._clock = clock
        self._turned_at_s = self._fed_at_s = clock()
        self._taken_count = 0
        self._stopping = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def beat(self) -> None:
        """Note that the event loop turns."""
        self._turned_at_s = self._clock()
        try:
            self._file.beat()
        except LocalDiskError as exc:
            log.warning("health file not written", error=str(exc))

    def expect_stop(self) -> None:
        """Note that the event loop ends on purpose; the shards at work may take their time."""
        self._stopping = True

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, and remove the health file."""
        self._stop.set()
        self._thread.join()
        self._file.remove()

    def rest(self) -> None:
        """Note whether the process has been idle since the last time."""
        taken_count, seen_count = self._activity.taken_count, self._seen_count
        self._seen_count = taken_count
        is_idle = taken_count == seen_count and not self._activity.running_count
        if is_idle and taken_count != self._rested_count:
            self._rested_count = taken_count
            self._on_idle()

    def check(self) -> None:
        """End the process if it is stuck."""
        # A silent server must not hold up the end.
        queued = None if self._stopping else self._queue_length()
        if queued is None:
            self._fed_at_s = self._clock()
            self.beat()
            return
        taken_count, now_s = self._activity.taken_count, self._clock()
        if not queued or self._activity.running_count or taken_count != self._taken_count:
            self._fed_at_s, self._taken_count = now_s, taken_count
        if now_s - self._turned_at_s >= STUCK_AFTER_S:
            log.error("event loop has stalled, ending for a restart", stuck_s=STUCK_AFTER_S)
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
            self.rest()
