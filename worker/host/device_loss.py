"""The end of a process whose GPU fails every call: what becomes of its shards is recorded first."""

import threading
from collections.abc import Callable

from fornada.logs import get_logger
from worker.host.watchdog import Activity

log = get_logger(__name__)

#: How long shards may take that fail at once, and be recorded.
_RECORDED_WITHIN_S = 10.0


class DeviceLoss:
    """Ends the process for a restart, once.

    The shards in hand fail first, so that Redis has the reason, and those whose model was being
    loaded go back without an attempt.

    Args:
        activity: The shards at work.
        end_process: Ends the process at once.
    """

    def __init__(self, *, activity: Activity, end_process: Callable[[], object]) -> None:
        self._activity = activity
        self._end_process = end_process
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def note(self) -> None:
        """Note that the GPU fails every call; from any thread."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="device-loss", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        self._activity.end(within_s=_RECORDED_WITHIN_S)
        log.error("the GPU fails every call, ending for a restart")
        self._end_process()
