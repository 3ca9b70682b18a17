"""An answer that one thread waits for."""

import threading

from fornada.calls.frames import AnswerFrame


class ThreadAnswer:
    """What calls need of a `concurrent.futures.Future`, for a third of its CPU; completed once."""

    __slots__ = ("_answer", "_error", "_missing")

    def __init__(self) -> None:
        #: Held until there is an answer.
        self._missing = threading.Lock()
        self._missing.acquire()
        self._answer: AnswerFrame | None = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Whether it has come, and the thread has not yet gone on with it."""
        return not self._missing.locked()

    def set_running_or_notify_cancel(self) -> bool:
        """Whether somebody still waits: a thread cannot be told to stop."""
        return True

    def set_result(self, answer: AnswerFrame) -> None:
        """Give the answer."""
        self._answer = answer
        self._missing.release()

    def set_exception(self, error: BaseException) -> None:
        """Say why there is none."""
        self._error = error
        self._missing.release()

    def result(self, timeout_s: float) -> AnswerFrame | None:
        """The answer; `None` if none comes in time.

        Raises:
            BaseException: What `set_exception` was given.
        """
        if not self._missing.acquire(timeout=timeout_s):
            return None
        if self._error is not None:
            raise self._error
        return self._answer
