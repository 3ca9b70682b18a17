"""Calls that are answered through Redis, many callers at a time; nothing of them is kept."""

import contextlib
import os
import threading
import time
import uuid
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

import numpy as np
from numpy.typing import NDArray

from fornada import errors
from fornada.calls.frames import MAX_CALL_BYTES, AnswerFrame, PredictRequest, request_frame
from fornada.calls.interface import CallChannel
from fornada.errors import (
    BrokerError,
    FornadaError,
    MessageError,
    UsageError,
    WaitTimeoutError,
)
from fornada.formats.items import Array
from fornada.logs import get_logger
from fornada.records import ModelPin

log = get_logger(__name__)

Probabilities = NDArray[np.float32]

MAX_TIMEOUT_S = 600.0
#: Answers that are taken off at a time.
_ANSWERS_AT_A_TIME = 256
#: How long the reading thread waits for an answer before it looks whether it is still wanted.
_READ_WITHIN_S = 1.0
_WAIT_AFTER_ERROR_S = 0.2
#: Clocks drift apart by less than a millisecond in such a time.
_CLOCK_FOR_S = 60.0
#: What a worker may say was wrong; all else is a FornadaError.
_KINDS = ("InputError", "ModelError", "ModelNotFoundError", "ModelRefusedError", "PredictionError")


class PredictCalls:
    """Sends calls of any number of threads, and gives each its answer.

    A caller that finds nobody sending sends for all who came meanwhile (flat combining: Hendler,
    Incze, Shavit and Tzafrir, 2010). One thread reads the answers while any are outstanding.

    Args:
        exchange: The way to the workers.
        queue: Which workers.
    """

    def __init__(self, *, exchange: CallChannel, queue: str) -> None:
        self._exchange = exchange
        self._queue = queue
        self._begin()

    def predict(self, items: Array, pin: ModelPin, *, timeout_s: float) -> Probabilities:
        """float32 [items, outputs] for `items`, item dtype [items, *item_shape].

        Raises:
            UsageError: Too many bytes, or no sensible time.
            WaitTimeoutError: No answer came in time.
            BacklogFullError, BrokerError: The call did not get through.
            InputError, ModelError: The worker says so.
        """
        if items.nbytes > MAX_CALL_BYTES:
            raise UsageError(
                f"{items.nbytes} bytes of images are more than one call takes ({MAX_CALL_BYTES}); "
                "submit them as a job"
            )
        if not 0 < timeout_s <= MAX_TIMEOUT_S:
            raise UsageError(f"timeout_s is {timeout_s:g}; give up to {MAX_TIMEOUT_S:g} seconds")
        if self._pid != os.getpid():
            # After a fork there is nobody who reads.
            self._begin()
        call_id, future = uuid.uuid4().hex, Future[Probabilities]()
        header = PredictRequest(
            id=call_id,
            client=self._client,
            model=pin,
            item_dtype=items.dtype.name,  # type: ignore[arg-type]  # pydantic checks it
            item_shape=list(items.shape[1:]),
            item_count=len(items),
            deadline_ms=self._now_ms() + round(timeout_s * 1000),
        )
        with self._changed:
            if self._closed:
                raise UsageError("the client is closed; make another one")
            self._waiting[call_id] = future
            self._outbox.append((call_id, request_frame(header, items)))
            self._read_answers()
        self._send()
        try:
            return future.result(timeout_s)
        except FutureTimeoutError:
            raise WaitTimeoutError(self._late(timeout_s)) from None
        finally:
            with self._changed:
                self._waiting.pop(call_id, None)

    def close(self) -> None:
        """End the thread; calls that are outstanding fail."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            reader = self._reader
        self._fail(list(self._waiting), UsageError("the client was closed"))
        if reader is not None and self._pid == os.getpid():
            reader.join()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._client = uuid.uuid4().hex
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._outbox: deque[tuple[str, bytes]] = deque()
        self._waiting: dict[str, Future[Probabilities]] = {}
        self._reader: threading.Thread | None = None
        self._closed = False
        self._clock: tuple[int, float] | None = None

    def _now_ms(self) -> int:
        """Now, by the clock of Redis, which is asked now and then."""
        now_s = time.monotonic()
        if self._clock is None or now_s - self._clock[1] > _CLOCK_FOR_S:
            self._clock = self._exchange.time_ms(), now_s
        at_ms, asked_s = self._clock
        return at_ms + round((now_s - asked_s) * 1000)

    def _send(self) -> None:
        # Whoever adds a call and finds another one sending leaves it to him: he looks again.
        while self._outbox and self._sending.acquire(blocking=False):
            calls: list[tuple[str, bytes]] = []
            try:
                with contextlib.suppress(IndexError):
                    while True:
                        calls.append(self._outbox.popleft())
                if calls:
                    self._exchange.ask(self._queue, [frame for _, frame in calls])
            except FornadaError as exc:
                self._fail([call_id for call_id, _ in calls], exc)
            finally:
                self._sending.release()

    def _fail(self, call_ids: list[str], exc: FornadaError) -> None:
        for call_id in call_ids:
            future = self._waiting.get(call_id)
            if future is not None and not future.done():
                future.set_exception(exc)

    def _read_answers(self) -> None:
        """Have the answers read, by a thread that is begun with the first call."""
        if self._reader is None:
            self._reader = threading.Thread(target=self._read, name="predict-answers", daemon=True)
            self._reader.start()
        self._changed.notify_all()

    def _read(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
            try:
                frames = self._exchange.collect(
                    self._client, count=_ANSWERS_AT_A_TIME, timeout_s=_READ_WITHIN_S
                )
            except BrokerError as exc:
                log.warning("answers not read", error=str(exc))
                time.sleep(_WAIT_AFTER_ERROR_S)
                continue
            for frame in frames:
                self._give(frame)

    def _give(self, frame: bytes) -> None:
        try:
            answer = AnswerFrame.parse(frame)
        except MessageError as exc:
            log.error("answer dropped", error=str(exc))  # noqa: TRY400 - ours to explain, a stack says no more
            return
        future = self._waiting.get(answer.header.id)
        if future is None or future.done():
            # It came late, or for the second time.
            return
        if answer.header.error is None:
            future.set_result(answer.outputs)
            return
        kind = answer.header.error if answer.header.error in _KINDS else "FornadaError"
        future.set_exception(getattr(errors, kind)(answer.header.detail or kind))

    def _late(self, timeout_s: float) -> str:
        fact = f"no answer came within {timeout_s:g} s"
        try:
            waiting = self._exchange.waiting(self._queue)
        except BrokerError as exc:
            return f"{fact}, and {exc}"
        return (
            f"{fact}, and {waiting} calls wait for a worker; see that workers run and keep up, "
            "give it longer, or submit a job"
        )
