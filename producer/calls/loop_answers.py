"""Answers for an event loop: those that threads bring together wake it once."""

import asyncio
from collections import deque

from fornada.calls.frames import AnswerFrame


class LoopAnswers:
    """Brings answers from other threads into one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ready: deque[tuple[asyncio.Future[AnswerFrame], AnswerFrame | BaseException]] = (
            deque()
        )
        self._is_woken = False

    def expect(self) -> "LoopAnswer":
        """One more answer; called in the loop."""
        return LoopAnswer(self, self._loop.create_future())

    def bring(
        self, future: asyncio.Future[AnswerFrame], answer: AnswerFrame | BaseException
    ) -> None:
        """Complete a future of the loop; called in any thread."""
        self._ready.append((future, answer))
        if not self._is_woken:
            self._is_woken = True
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._complete)

    def _complete(self) -> None:
        # First: what is added from now on wakes the loop again.
        self._is_woken = False
        while self._ready:
            future, answer = self._ready.popleft()
            if future.done():
                # Its caller has given up.
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)


class LoopAnswer:
    """One answer: what the calls have of a `concurrent.futures.Future`, and a future to await."""

    __slots__ = ("_answers", "future")

    def __init__(self, answers: LoopAnswers, future: asyncio.Future[AnswerFrame]) -> None:
        self._answers = answers
        self.future = future

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return self.future.done()

    def set_running_or_notify_cancel(self) -> bool:
        """Whether somebody still waits."""
        return not self.future.done()

    def set_result(self, answer: AnswerFrame) -> None:
        """Complete it."""
        self._answers.bring(self.future, answer)

    def set_exception(self, error: BaseException) -> None:
        """Fail it."""
        self._answers.bring(self.future, error)
