"""Let SIGINT, SIGTERM and SIGHUP end this process in order, at a safe moment."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise KeyboardInterrupt in the block, as SIGINT does.

    A signal that is ignored, as under `nohup`, stays ignored.
    """
    numbers = [n for n in _ENDING_SIGNALS if signal.getsignal(n) != signal.SIG_IGN]
    handlers = {n: signal.signal(n, signal.default_int_handler) for n in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """Hold back SIGINT, SIGTERM and SIGHUP until the end of the block.

    A new child must be recorded before an exception can interrupt, and an orderly shutdown must
    not be cut short. Python delivers signals only to the main thread, so other threads need none
    of this.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        pending.append(number)

    handlers = {
        int(number): signal.signal(number, note)
        for number in _ENDING_SIGNALS
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(pending):
            signal.raise_signal(number)
