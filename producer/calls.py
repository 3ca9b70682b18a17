"""Calls of many threads that workers answer through Redis; nothing is stored."""

import contextlib
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from pydantic import ValidationError

from fornada import errors
from fornada.calls.frames import MAX_CALL_BYTES, AnswerFrame, PredictRequest, request_frame
from fornada.calls.interface import CallChannel
from fornada.errors import (
    AnswerNotTrustedError,
    BrokerError,
    FornadaError,
    MessageError,
    UsageError,
    WaitTimeoutError,
)
from fornada.formats.items import Array
from fornada.formats.tensor_file import Column, column_bytes, to_tensor_file
from fornada.logs import get_logger
from fornada.records import JOB_VERSION, ModelPin
from fornada.repeated import Repeated
from fornada.tensors import InputTensor
from fornada.trust.deployment_keys import NO_KEYS, DeploymentKeys
from producer.options import check_seconds

log = get_logger(__name__)

MAX_TIMEOUT_S = 600.0
#: Answers that one round trip collects.
_ANSWERS_AT_A_TIME = 256
#: How long the reader blocks in one round trip; `close` waits that long at most.
_READ_WITHIN_S = 1.0
#: Wait after Redis failed; doubles from the first to the last.
_WAIT_AFTER_ERROR_S = 0.2
_LONGEST_WAIT_S = 3.0
#: How long a reading of Redis's clock is used; in that time clocks drift less than a millisecond.
_CLOCK_FOR_S = 60.0


class PredictCalls:
    """Sends the calls of any number of threads, and returns each its answer.

    A thread that finds no other one sending also sends what others add meanwhile (flat combining:
    Hendler, Incze, Shavit and Tzafrir, 2010). One thread reads answers while calls are waiting.

    Args:
        channel: Carries calls to the workers.
        queue: The workers' queue.
        deployment_keys: Sign calls and verify answers.
    """

    def __init__(
        self, *, channel: CallChannel, queue: str, deployment_keys: DeploymentKeys = NO_KEYS
    ) -> None:
        self._channel = channel
        self._queue = queue
        self._keys = deployment_keys
        self._begin()

    def predict(
        self,
        columns: Sequence[Column],
        takes: Sequence[InputTensor],
        pin: ModelPin,
        *,
        timeout_s: float,
    ) -> AnswerFrame:
        """The answer to items.

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
        check_seconds(timeout_s, "timeout_s")
        if not 0 < timeout_s <= MAX_TIMEOUT_S:
            raise UsageError(f"timeout_s is {timeout_s:g}; give up to {MAX_TIMEOUT_S:g} seconds")
        items = _sent(columns, takes)
        if self._pid != os.getpid():
            # A fork has no reader, and must not collect its parent's answers.
            self._begin()
        call_id = uuid.uuid4().hex
        future: Future[AnswerFrame] = Future()
        header = self._request(call_id, items, len(columns[0]), pin, timeout_s=timeout_s)
        with self._changed:
            if self._closed:
                raise UsageError("the client is closed; create another one")
            self._waiting[call_id] = future
            frame = request_frame(header, items, deployment_keys=self._keys)
            self._outbox.append((call_id, frame))
            self._ensure_reader()
        try:
            self._send()
            return future.result(timeout_s)
        except FutureTimeoutError:
            raise WaitTimeoutError(self._late(timeout_s)) from None
        finally:
            self._take_waiting(call_id)

    def _request(
        self,
        call_id: str,
        items: Array | bytes,
        item_count: int,
        pin: ModelPin,
        *,
        timeout_s: float,
    ) -> PredictRequest:
        if isinstance(items, bytes):
            what: dict[str, Any] = {"format": "safetensors"}
        else:
            what = {"item_dtype": items.dtype.name, "item_shape": list(items.shape[1:])}
        try:
            return PredictRequest(
                schema_version=JOB_VERSION,
                id=call_id,
                client=self._client,
                model=pin,
                item_count=item_count,
                deadline_ms=self._now_ms() + round(timeout_s * 1000),
                **what,
            )
        except ValidationError as exc:
            kind = "a tensor file" if isinstance(items, bytes) else f"{items.dtype} {items.shape}"
            raise UsageError(
                f"{item_count} items as {kind} cannot be sent in a call; submit them as a job"
            ) from exc

    def close(self) -> None:
        """Fail the calls that are waiting, and end the reader."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            reader, waiting = self._reader, list(self._waiting)
        self._fail(waiting, UsageError("the client was closed"))
        if reader is not None and self._pid == os.getpid():
            reader.join()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._client = uuid.uuid4().hex
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._outbox: deque[tuple[str, bytes]] = deque()
        #: Calls without an answer. Only the thread that removes one, under the lock, completes it.
        self._waiting: dict[str, Future[AnswerFrame]] = {}
        self._reader: threading.Thread | None = None
        self._closed = False
        self._clock: tuple[int, float] | None = None

    def _now_ms(self) -> int:
        """Now, by the clock of Redis, which is read once a minute."""
        now_s = time.monotonic()
        if self._clock is None or now_s - self._clock[1] > _CLOCK_FOR_S:
            self._clock = self._channel.time_ms(), now_s
        at_ms, asked_s = self._clock
        return at_ms + round((now_s - asked_s) * 1000)

    def _send(self) -> None:
        # A thread that finds another one sending leaves its call to that one, which looks again.
        while self._outbox and self._sending.acquire(blocking=False):
            calls: list[tuple[str, bytes]] = []
            try:
                with contextlib.suppress(IndexError):
                    while True:
                        calls.append(self._outbox.popleft())
                if calls:
                    self._channel.ask(self._queue, [frame for _, frame in calls])
            except FornadaError as exc:
                self._fail([call_id for call_id, _ in calls], exc)
            finally:
                self._sending.release()

    def _take_waiting(self, call_id: str) -> Future[AnswerFrame] | None:
        """Remove a waiting call, for the caller alone to complete; `None` if another thread did."""
        with self._changed:
            return self._waiting.pop(call_id, None)

    def _fail(self, call_ids: Iterable[str], exc: FornadaError) -> None:
        for call_id in call_ids:
            future = self._take_waiting(call_id)
            if future is not None:
                future.set_exception(exc)

    def _ensure_reader(self) -> None:
        """Start the reader with the first call, and again if it died; wake it."""
        if self._reader is None or not self._reader.is_alive():
            self._reader = threading.Thread(target=self._read, name="predict-answers", daemon=True)
            self._reader.start()
        self._changed.notify_all()

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
        future = self._take_waiting(answer.header.id)
        if future is None:
            # The answer is late, or a duplicate.
            return
        distrusted = self._distrusted(answer)
        if distrusted is not None:
            future.set_exception(distrusted)
            return
        if answer.header.error is None:
            future.set_result(answer)
            return
        kind = getattr(errors, answer.header.error, None)
        if not (isinstance(kind, type) and issubclass(kind, FornadaError)):
            kind = FornadaError
        future.set_exception(kind(answer.header.detail or kind.__name__))

    def _distrusted(self, answer: AnswerFrame) -> FornadaError | None:
        """Why the answer is not believed, if it is not."""
        if answer.seal == "known" or not (self._keys or answer.seal == "unknown"):
            return None
        if not self._keys:
            fact = "the answer is signed, and this client has no key to verify it with"
        elif answer.header.error == AnswerNotTrustedError.__name__:
            fact = "no key of the workers signed the call"
        else:
            fact = "no key of this client signed the answer"
        return AnswerNotTrustedError(
            f"{fact}; give clients and workers the same FORNADA_DEPLOYMENT_KEYS"
        )

    def _late(self, timeout_s: float) -> str:
        fact = f"no answer came within {timeout_s:g} s"
        try:
            waiting = self._channel.waiting(self._queue)
        except BrokerError as exc:
            return f"{fact}, and {exc}"
        return (
            f"{fact}, and {waiting} calls wait for a worker; check that workers run and keep up, "
            "raise the timeout, or submit a job"
        )


def _sent(columns: Sequence[Column], takes: Sequence[InputTensor]) -> Array | bytes:
    """What a call has of the items: one array of numbers, or a tensor file.

    Raises:
        UsageError: It is too large.
    """
    _check_size(sum(map(column_bytes, columns)))
    if len(takes) == 1 and takes[0].dtype != "string" and not isinstance(columns[0], list):
        return columns[0]
    named = {tensor.name: column for tensor, column in zip(takes, columns, strict=True)}
    data = to_tensor_file(named, takes)
    _check_size(len(data))
    return data


def _check_size(item_bytes: int) -> None:
    if item_bytes > MAX_CALL_BYTES:
        raise UsageError(
            f"{item_bytes} bytes of items exceed the limit of a call ({MAX_CALL_BYTES}); submit "
            "them as a job"
        )
