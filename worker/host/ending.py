"""The end of a process that was told to end: bounded, whatever its servers do."""

import threading
import time
from collections.abc import Callable

from fornada.logs import get_logger

log = get_logger(__name__)

#: How long a process without work may take to end.
END_WITHIN_S = 15.0
_LOOK_EVERY_S = 0.5


class Ending:
    """Ends a process that still has not ended a while after its last work.

    Celery waits up to 30 s for a silent server, and behind Sentinel redis-py's tries are nested for
    minutes. What is not returned to the queue then is enqueued again by a reconciler.

    Args:
        at_work: Whether a shard or a call is being computed.
        end_process: Ends the process at once.
        within_s: How long it may take from then on.
    """

    def __init__(
        self,
        *,
        at_work: Callable[[], bool],
        end_process: Callable[[], object],
        within_s: float = END_WITHIN_S,
    ) -> None:
        self._at_work = at_work
        self._end_process = end_process
        self._within_s = within_s
        self._thread = threading.Thread(target=self._run, name="ending", daemon=True)

    def begin(self) -> None:
        """Note that the process was told to end."""
        if self._thread.ident is None:
            self._thread.start()

    def _run(self) -> None:
        over_s = time.monotonic() + self._within_s
        while time.monotonic() < over_s:
            time.sleep(min(_LOOK_EVERY_S, self._within_s))
            if self._at_work():
                over_s = time.monotonic() + self._within_s
        log.warning("did not end in time, ending at once", waited_s=self._within_s)
        self._end_process()
