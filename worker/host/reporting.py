"""A worker process says every few seconds what it has in hand, for consoles and operators."""

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime

import fornada
from fornada.coordination.worker_board.interface import REPORT_EVERY_S, WorkerBoard, WorkerReport
from fornada.errors import BrokerError
from fornada.events import CallsAnswered, Event, ModelDropped, ModelLoaded, ShardFinished
from fornada.logs import get_logger
from fornada.records import now

log = get_logger(__name__)

#: Over which the rate of items is taken.
_WINDOW_S = 60.0
_FORGOTTEN_WITHIN_S = 2.0


class Work:
    """What the process has done, as its events tell. Safe to share between threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._models: dict[str, None] = {}
        #: When, and how many items.
        self._done: deque[tuple[float, int]] = deque()
        self._began_s = clock()
        self.items_done = 0
        self.last_progress_at: datetime | None = None

    @property
    def models(self) -> list[str]:
        """The models in memory."""
        with self._lock:
            return list(self._models)

    @property
    def items_per_s(self) -> float:
        """The rate in the last minute."""
        with self._lock:
            now_s = self._clock()
            while self._done and self._done[0][0] < now_s - _WINDOW_S:
                self._done.popleft()
            window_s = max(1.0, min(_WINDOW_S, now_s - self._began_s))
            return sum(count for _, count in self._done) / window_s

    def hear(self, event: Event) -> None:
        """Note what happened."""
        match event:
            case ModelLoaded():
                with self._lock:
                    self._models[str(event.model)] = None
            case ModelDropped():
                with self._lock:
                    self._models.pop(str(event.model), None)
            case ShardFinished():
                self._note(event.item_count)
            case CallsAnswered():
                self._note(event.row_count)

    def _note(self, item_count: int) -> None:
        with self._lock:
            now_s = self._clock()
            # Of a second: calls come by the thousand.
            if self._done and now_s - self._done[-1][0] < 1.0:
                at_s, before = self._done.pop()
                self._done.append((at_s, before + item_count))
            else:
                self._done.append((now_s, item_count))
            self.items_done += item_count
            self.last_progress_at = now()


class Reporter:
    """Reports what the process does."""

    def __init__(
        self,
        board: WorkerBoard,
        work: Work,
        *,
        name: str,
        queue: str,
        engine: str,
        threads: Callable[[], int],
        running_count: Callable[[], int],
    ) -> None:
        """Report to `board`.

        Args:
            board: Where.
            work: What the process has done.
            name: The process's name.
            queue: The queue that it consumes.
            engine: What it predicts with.
            threads: Shards that it handles at a time.
            running_count: Messages in its hands.
        """
        self._board = board
        self._work = work
        self._name = name
        self._queue = queue
        self._engine = engine
        self._threads = threads
        self._running_count = running_count
        self._started_at = now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin to report."""
        self._thread.start()

    def stop(self) -> None:
        """End, and be forgotten, unless the server is silent: it may not hold up the end."""
        self._stop.set()
        self._thread.join(_FORGOTTEN_WITHIN_S)

    def report(self) -> WorkerReport:
        """The process now."""
        return WorkerReport(
            name=self._name,
            version=fornada.__version__,
            queue=self._queue,
            engine=self._engine,
            models=self._work.models,
            threads=self._threads(),
            shards_running=self._running_count(),
            items_done=self._work.items_done,
            items_per_s=self._work.items_per_s,
            started_at=self._started_at,
            last_progress_at=self._work.last_progress_at,
        )

    def _run(self) -> None:
        while not self._stop.is_set():
            self._try(lambda: self._board.report(self.report()))
            self._stop.wait(REPORT_EVERY_S)
        self._try(lambda: self._board.forget_worker(self._name))

    def _try(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except BrokerError as exc:
            # Whoever consumes says so.
            log.debug("worker not reported", error=str(exc))
