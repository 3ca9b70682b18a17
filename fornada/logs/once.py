"""The same log line once in a while, with a count of those left out."""

import hashlib
import logging
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import structlog

#: How long a line that was written is left out.
WITHIN_S = 10.0
#: Most lines remembered; of older ones a repetition is written.
_KEPT = 4096
#: What every record has; the rest are a line's own fields.
_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message", "taskName"}


@dataclass(kw_only=True, slots=True)
class _Written:
    at_s: float
    left_out: int = 0


class Once(logging.Filter):
    """Leaves out a line that this process wrote within the last seconds.

    Lines are the same if all is but their time: logger, level, text, every field, bound ids
    included, and the error. When such a line is written again, `more_times_since` says how many
    were left out.
    """

    def __init__(
        self, *, within_s: float = WITHIN_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._within_s = within_s
        self._clock = clock
        self._lock = threading.Lock()
        self._written: OrderedDict[bytes, _Written] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        try:
            line = _digest(record)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - whoever logged it must not fail; the handler says what is wrong
            return True
        with self._lock:
            now_s, known = self._clock(), self._written.get(line)
            if known is not None and now_s - known.at_s < self._within_s:
                known.left_out += 1
                return False
            self._written[line] = _Written(at_s=now_s)
            self._written.move_to_end(line)
            if len(self._written) > _KEPT:
                self._written.popitem(last=False)
        if known is not None and known.left_out:
            record.more_times_since = getattr(record, "more_times_since", 0) + known.left_out
        return True


def _digest(record: logging.LogRecord) -> bytes:
    """A few bytes that stand for the line, which may be long."""
    own = {n: v for n, v in vars(record).items() if n not in _OF_EVERY_RECORD}
    fields = structlog.contextvars.get_contextvars() | own
    error = record.exc_info[1] if record.exc_info else None
    line = [str(record.name), record.levelname, record.getMessage()]
    line += [f"{name}={value!r}" for name, value in sorted(fields.items())]
    line += [] if error is None else traceback.format_exception_only(error)
    return hashlib.blake2b("\0".join(line).encode(errors="replace"), digest_size=16).digest()
