"""Calls of many threads and event loops, which workers answer through Redis; nothing is stored."""

import contextlib
import itertools
import math
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from fornada.calls.frames import AnswerFrame
from fornada.calls.interface import CallChannel
from fornada.errors import (
    BrokerError,
    FornadaError,
    MessageError,
    UsageError,
)
from fornada.formats.tensor_file import Column
from fornada.logs import get_logger
from fornada.records import ModelPin
from fornada.repeated import Repeated
from fornada.tensors import InputTensor
from fornada.tracing.interface import NO_TRACES, Traces
from fornada.trust.deployment_keys import NO_KEYS, DeploymentKeys
from producer.calls.answers import error_of
from producer.calls.call import Call, Expected
from producer.calls.thread_answer import ThreadAnswer

log = get_logger(__name__)

#: Answers that one round trip collects.
_ANSWERS_AT_A_TIME = 256
#: How long the reader blocks in one round trip; `close` waits that long at most.
_READ_WITHIN_S = 1.0
#: Wait after Redis failed; doubles from the first to the last.
_WAIT_AFTER_ERROR_S = 0.2
_LONGEST_WAIT_S = 3.0
_CALL_IDS = 2**128
#: How long a reading of Redis's clock is used; in that time clocks drift less than a millisecond.
_CLOCK_FOR_S = 60.0


class PredictCalls:
    """Sends the calls of any number of callers, and gives each its answer.

    A thread that finds no other one sending also sends what others add meanwhile (flat combining:
    Hendler, Incze, Shavit and Tzafrir, 2010). Callers that must not block, as those of an event
    loop, leave their calls to one thread that does. One thread reads answers while calls wait.

    Args:
        channel: Carries calls to the workers.
        queue: The workers' queue.
        deployment_keys: Sign calls and verify answers.
        traces: Whose span a call belongs to.
    """

    def __init__(
        self,
        *,
        channel: CallChannel,
        queue: str,
        deployment_keys: DeploymentKeys = NO_KEYS,
        traces: Traces = NO_TRACES,
    ) -> None:
        self._channel = channel
        self._queue = queue
        self._keys = deployment_keys
        self._traces = traces
        self._begin()

    def predict(
        self,
        columns: Sequence[Column],
        takes: Sequence[InputTensor],
        pin: ModelPin,
        *,
        timeout_s: float,
    ) -> AnswerFrame:
        """The answer to items; waits for it.

        Args:
            columns: A column for each input.
            takes: The model's inputs.
            pin: The model.
            timeout_s: How long to wait.

        Raises:
            UsageError: The call is too large, `timeout_s` is out of range, or this is closed.
            WaitTimeoutError: No answer came in time.
            BacklogFullError, BrokerError: The call may not have been sent.
            AnswerNotTrustedError: The answer is not signed with the client's key.
            InputError, ModelError: The worker refused the items or the model.
        """
        expected = ThreadAnswer()
        call = self._registered(columns, takes, pin, timeout_s, expected=expected)
        try:
            self._send()
            answer = expected.result(call.timeout_s)
        finally:
            self.forget(call)
        if answer is None:
            raise call.late(self._waiting_fact())
        return answer

    def begin(
        self,
        columns: Sequence[Column],
        takes: Sequence[InputTensor],
        pin: ModelPin,
        *,
        timeout_s: float,
        expected: Expected,
    ) -> Call:
        """Ask for an answer to items, which `expected` gets in time; blocks for nothing.

        Arguments and errors are as in `predict`; those of the call itself are raised here, the
        others given to `expected`.
        """
        return self._registered(columns, takes, pin, timeout_s, expected=expected, is_left=True)

    def forget(self, call: Call) -> None:
        """Wait no more for an answer; it may come nevertheless."""
        self._take_waiting(call.id)

    def waiting_count(self) -> int:
        """Calls that no worker has taken yet, of all clients.

        Raises:
            BrokerError: Redis cannot be reached.
        """
        return self._channel.waiting(self._queue)

    def close(self) -> None:
        """Fail the calls that are waiting, and end the threads."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()
            self._left.notify_all()
            threads = [thread for thread in (self._reader, self._sender) if thread is not None]
            waiting = list(self._waiting)
        self._fail(waiting, UsageError("the client was closed"))
        for thread in threads if self._pid == os.getpid() else []:
            thread.join()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._client = uuid.uuid4().hex
        #: Ids of calls, from a random one on: an answer to another client's call fits none of them.
        self._call_numbers = itertools.count(uuid.uuid4().int)
        self._lock = threading.Lock()
        #: Calls wait for answers, or this is closed.
        self._changed = threading.Condition(self._lock)
        #: A call is left to the sender.
        self._left = threading.Condition(self._lock)
        self._sending = threading.Lock()
        self._outbox: deque[Call] = deque()
        #: Calls without an answer. Only the thread that removes one, under the lock, completes it.
        self._waiting: dict[str, Call] = {}
        #: No call that is left to the sender is due before; by the monotonic clock.
        self._next_due_s = math.inf
        self._reader: threading.Thread | None = None
        self._sender: threading.Thread | None = None
        self._closed = False
        self._clock: tuple[int, float] | None = None

    def _registered(
        self,
        columns: Sequence[Column],
        takes: Sequence[InputTensor],
        pin: ModelPin,
        timeout_s: float,
        *,
        expected: Expected,
        is_left: bool = False,
    ) -> Call:
        """A call in the outbox; with `is_left` the sender sends it, and ends it in time."""
        if self._pid != os.getpid():
            # A fork has no threads, and must not collect its parent's answers.
            self._begin()
        call_id = f"{next(self._call_numbers) % _CALL_IDS:032x}"
        call = Call.of(
            columns,
            takes,
            pin,
            call_id=call_id,
            timeout_s=timeout_s,
            expected=expected,
            traceparent=self._traces.traceparent(),
        )
        with self._lock:
            if self._closed:
                raise UsageError("the client is closed; create another one")
            self._waiting[call.id] = call
            self._outbox.append(call)
            self._reader = _running(self._reader, self._read, "predict-answers")
            self._changed.notify_all()
            if is_left:
                self._next_due_s = min(self._next_due_s, call.due_s)
                self._sender = _running(self._sender, self._send_those_left, "predict-calls")
                self._left.notify_all()
        return call

    def _now_ms(self) -> int:
        """Now, by the clock of Redis, which is read once a minute."""
        now_s = time.monotonic()
        if self._clock is None or now_s - self._clock[1] > _CLOCK_FOR_S:
            self._clock = self._channel.time_ms(), now_s
        at_ms, asked_s = self._clock
        return at_ms + round((now_s - asked_s) * 1000)

    def _send(self, *, wait: bool = False) -> None:
        # A thread that finds another one sending leaves its call to that one, which looks again.
        while self._outbox and self._sending.acquire(blocking=wait):
            calls: list[Call] = []
            try:
                with contextlib.suppress(IndexError):
                    while True:
                        calls.append(self._outbox.popleft())
                frames = self._frames(calls)
                if frames:
                    self._channel.ask(self._queue, frames)
            except FornadaError as exc:
                self._fail([call.id for call in calls], exc)
            finally:
                self._sending.release()

    def _frames(self, calls: Iterable[Call]) -> list[bytes]:
        """The frames of calls that somebody still waits for; one that can have none fails alone."""
        now_ms, frames = self._now_ms(), []
        for call in calls:
            if call.expected.done():
                continue
            try:
                frames.append(
                    call.frame(client=self._client, now_ms=now_ms, deployment_keys=self._keys)
                )
            except UsageError as exc:
                self._fail([call.id], exc)
        return frames

    def _send_those_left(self) -> None:
        """Send the calls of those who must not block, and end the ones that are late."""
        repeated = Repeated()
        while True:
            with self._left:
                left_s = self._next_due_s - time.monotonic()
                self._left.wait_for(
                    lambda: self._outbox or self._closed,
                    None if left_s == math.inf else max(0.0, left_s),
                )
                if self._closed:
                    return
            try:
                self._send(wait=True)
                self._end_late()
            except MemoryError:
                raise
            except Exception as exc:  # noqa: BLE001 - the calls end in time, and others may go better
                repeated.log(log.exception, "calls not sent", about=type(exc).__name__)

    def _end_late(self) -> None:
        now_s = time.monotonic()
        with self._lock:
            if now_s < self._next_due_s:
                return
            late = [call for call in self._waiting.values() if call.due_s <= now_s]
            due_s = (call.due_s for call in self._waiting.values() if call.due_s > now_s)
            self._next_due_s = min(due_s, default=math.inf)
        fact = self._waiting_fact() if late else ""
        for call in late:
            self._fail([call.id], call.late(fact))

    def _take_waiting(self, call_id: str) -> Call | None:
        """Remove a waiting call, for the caller alone to complete; `None` if another thread did."""
        with self._lock:
            return self._waiting.pop(call_id, None)

    def _fail(self, call_ids: Iterable[str], exc: FornadaError) -> None:
        for call_id in call_ids:
            call = self._take_waiting(call_id)
            if call is not None and call.expected.set_running_or_notify_cancel():
                call.expected.set_exception(exc)

    def _read(self) -> None:
        wait_s, repeated = _WAIT_AFTER_ERROR_S, Repeated()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
            try:
                for frame in self._channel.collect(
                    self._client, count=_ANSWERS_AT_A_TIME, timeout_s=_READ_WITHIN_S
                ):
                    self._complete(frame, repeated)
            except BrokerError as exc:
                repeated.log(log.warning, "answers not read", error=str(exc))
            except MemoryError:
                raise
            except Exception as exc:  # noqa: BLE001 - the calls give up on their own
                repeated.log(log.exception, "answers not read", about=type(exc).__name__)
            else:
                wait_s = _WAIT_AFTER_ERROR_S
                continue
            self._pause(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _pause(self, wait_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, wait_s)

    def _complete(self, frame: bytes, repeated: Repeated) -> None:
        try:
            answer = AnswerFrame.parse(frame, deployment_keys=self._keys)
        except MessageError as exc:
            repeated.log(log.error, "answer dropped", error=str(exc))
            return
        call = self._take_waiting(answer.header.id)
        if call is None or not call.expected.set_running_or_notify_cancel():
            # The answer is late, a duplicate, or nobody waits for it any more.
            return
        error = error_of(answer, self._keys)
        if error is None:
            call.expected.set_result(answer)
        else:
            call.expected.set_exception(error)

    def _waiting_fact(self) -> str:
        """How many calls wait for a worker, for the error of one that is late."""
        try:
            count = self.waiting_count()
        except BrokerError as exc:
            return f"and {exc}"
        return f"and {count} call{' waits' if count == 1 else 's wait'} for a worker"


def _running(
    thread: threading.Thread | None, run: Callable[[], None], name: str
) -> threading.Thread:
    """The thread, started with the first call, and again if it died."""
    if thread is None or not thread.is_alive():
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
    return thread
