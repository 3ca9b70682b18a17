"""Let SIGINT, SIGTERM and SIGHUP end this process in order, at a moment that is safe."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Within the block, SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does.

    A signal that is ignored stays so: `nohup` means it.
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
    """Hold back SIGINT, SIGTERM and SIGHUP until the block's end.

    A child that was just begun must be noted before an exception can fly, and an end in order
    must not be cut short. Python delivers signals to the main thread alone, so elsewhere there
    is nothing to hold back.
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
