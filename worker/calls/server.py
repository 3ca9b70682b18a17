"""Answers calls of `client.predict`, those that arrive together in one prediction a model."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from fornada.calls.frames import (
    RequestFrame,
)
from fornada.calls.interface import CallChannel
from fornada.errors import (
    AnswerNotTrustedError,
    BrokerError,
    FornadaError,
    MessageError,
)
from fornada.events import SILENT, CallsAnswered, Events
from fornada.logs import get_logger
from fornada.records import ModelPin
from fornada.repeated import Repeated
from fornada.trust.deployment_keys import NO_KEYS, DeploymentKeys
from worker.calls.answers import answered_calls, read_calls, refusal
from worker.compute.model_cache import ModelCache
from worker.host.cpu_time import CpuTime
from worker.host.deadlines import Deadlines

log = get_logger(__name__)

#: One takes calls while the other predicts; the rows of calls share tiles with those of shards.
_THREADS = 2
#: How long a thread blocks for a call before it checks whether to stop.
_TAKE_WITHIN_S = 1.0
_WAIT_AFTER_ERROR_S = 1.0
#: Time between two log lines about refused calls.
_LOG_AGAIN_AFTER_S = 60.0
_NOT_SIGNED = AnswerNotTrustedError(
    "no key of the workers signed the call; give clients and workers the same "
    "FORNADA_DEPLOYMENT_KEYS"
)
#: Calls that one thread takes at once: a burst, but few enough that other workers do not idle.
_CALLS_AT_A_TIME = 256


class PredictServer:
    """Threads that take calls and answer them. A call is taken once: a worker that dies loses it.

    Args:
        channel: Brings calls and carries answers back.
        queue: The queue of calls.
        models: Loads models by the same rules as for shards.
        deadlines: Ends the process if a model hangs.
        deadline_s: When a model counts as hung.
        cpu_time: Leaves what calls take out of the figures of shards at the same time.
        deployment_keys: With any, calls that none of them signed are refused, and answers signed.
        end_process: Called when the device is out of memory, which only a restart cures.
    """

    def __init__(
        self,
        *,
        channel: CallChannel,
        queue: str,
        models: ModelCache,
        deadlines: Deadlines,
        deadline_s: float,
        end_process: Callable[[], None],
        deployment_keys: DeploymentKeys = NO_KEYS,
        events: Events = SILENT,
        cpu_time: CpuTime | None = None,
    ) -> None:
        self._channel = channel
        self._queue = queue
        self._models = models
        self._deadlines = deadlines
        self._deadline_s = deadline_s
        self._end_process = end_process
        self._keys = deployment_keys
        self._refusals = _Refusals()
        self._repeated = Repeated()
        self._events = events
        self._cpu_time = cpu_time or CpuTime()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"predict-calls-{number}", daemon=True)
            for number in range(_THREADS)
        ]

    def start(self) -> None:
        """Start to take calls."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop taking calls; return when those taken are answered."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                frames, now_ms = self._channel.take(
                    self._queue, count=_CALLS_AT_A_TIME, timeout_s=_TAKE_WITHIN_S
                )
                if frames:
                    self._serve(frames, now_ms)
            except BrokerError as exc:
                # Also if answers could not be sent; their callers give up on their own.
                what = "predict calls interrupted"
                self._repeated.log(log.warning, what, error=str(exc))
                self._stop.wait(_WAIT_AFTER_ERROR_S)
            except MemoryError:
                log.exception("out of memory, ending for a restart")
                self._end_process()
            except Exception as exc:  # noqa: BLE001 - the next calls may go better
                what = "predict calls failed unexpectedly"
                self._repeated.log(log.exception, what, about=type(exc).__name__)
                self._stop.wait(_WAIT_AFTER_ERROR_S)

    def _serve(self, frames: Sequence[bytes], now_ms: int) -> None:
        wanted = _wanted(frames, now_ms, self._keys, self._repeated)
        calls = sorted((call for call in wanted if call.is_trusted), key=_by_model)
        answers: dict[str, list[bytes]] = {}
        refused = [call for call in wanted if not call.is_trusted]
        self._refusals.count(len(refused))
        for call in refused:
            # Not signed either: anyone may have asked, in the name of a call that is.
            answers.setdefault(call.header.client, []).append(refusal(call, _NOT_SIGNED, NO_KEYS))
        with self._deadlines.within(self._deadline_s), self._cpu_time.at_work():
            for _, group in groupby(calls, key=_by_model):
                for call, answer in self._predict(list(group)):
                    answers.setdefault(call.header.client, []).append(answer)
        if answers:
            self._channel.answer(answers)

    def _predict(self, calls: Sequence[RequestFrame]) -> list[tuple[RequestFrame, bytes]]:
        """Each call with its answer; all calls are for one model."""
        try:
            with (
                self._models.use(calls[0].header.model) as model,
                model.batcher.expecting() as predict_groups,
            ):
                fitting, others = read_calls(calls, model.manifest, self._keys)
                began_s = time.monotonic()
                answered = answered_calls(fitting, predict_groups, model.manifest, self._keys)
                self._events.tell(
                    CallsAnswered(
                        model=calls[0].header.model,
                        call_count=len(fitting),
                        row_count=sum(call.header.item_count for call, _ in fitting),
                        duration_s=time.monotonic() - began_s,
                        traceparents=tuple(c.traceparent for c, _ in fitting if c.traceparent),
                    )
                )
                return [*answered, *others]
        except FornadaError as exc:
            return [(call, refusal(call, exc, self._keys)) for call in calls]


def _by_model(call: RequestFrame) -> tuple[str, int, str]:
    pin: ModelPin = call.header.model
    return pin.name, pin.version, pin.sha256


def _wanted(
    frames: Iterable[bytes], now_ms: int, deployment_keys: DeploymentKeys, repeated: Repeated
) -> list[RequestFrame]:
    wanted = []
    for frame in frames:
        try:
            call = RequestFrame.parse(frame, deployment_keys=deployment_keys)
        except MessageError as exc:
            repeated.log(log.error, "predict call dropped", error=str(exc))
            continue
        if call.header.deadline_ms > now_ms:
            wanted.append(call)
    return wanted


class _Refusals:
    """Counts refused calls, and logs the count now and then: anyone may send thousands."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._due_at = 0.0

    def count(self, refused: int) -> None:
        """Add `refused` calls."""
        with self._lock:
            self._count += refused
            if not refused or time.monotonic() < self._due_at:
                return
            log.warning("predict calls refused, not signed", calls_so_far=self._count)
            self._due_at = time.monotonic() + _LOG_AGAIN_AFTER_S
