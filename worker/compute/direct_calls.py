"""Answers calls of `client.predict`, those that arrive together in one prediction a model."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from fornada.calls.frames import (
    MAX_ANSWER_BYTES,
    PredictAnswer,
    RequestFrame,
    answer_frame,
    failed_rows,
)
from fornada.calls.interface import CallChannel
from fornada.errors import (
    AnswerNotTrustedError,
    BrokerError,
    FornadaError,
    InputError,
    MessageError,
    ModelError,
)
from fornada.events import SILENT, CallsAnswered, Events
from fornada.jobs.items import Items, Predicted
from fornada.logs import get_logger
from fornada.records import JOB_VERSION, ModelPin
from fornada.repeated import Repeated
from fornada.tensors import OutputTensor
from fornada.trust.deployment_keys import NO_KEYS, DeploymentKeys
from worker.compute.model_cache import ModelCache, UsedModel
from worker.compute.together import predict_together
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
            answers.setdefault(call.header.client, []).append(_refusal(call, _NOT_SIGNED, NO_KEYS))
        with self._deadlines.within(self._deadline_s):
            for _, group in groupby(calls, key=_by_model):
                for call, answer in self._predict(list(group)):
                    answers.setdefault(call.header.client, []).append(answer)
        if answers:
            self._channel.answer(answers)

    def _predict(self, calls: Sequence[RequestFrame]) -> list[tuple[RequestFrame, bytes]]:
        """Each call with its answer; all calls are for one model."""
        try:
            with self._models.use(calls[0].header.model) as model:
                fitting, others = _parted(calls, model, self._keys)
                began_s = time.monotonic()
                answered = _answered(fitting, model, self._keys)
                self._events.tell(
                    CallsAnswered(
                        model=calls[0].header.model,
                        call_count=len(fitting),
                        row_count=sum(call.header.item_count for call in fitting),
                        duration_s=time.monotonic() - began_s,
                    )
                )
                return [*answered, *others]
        except FornadaError as exc:
            return [(call, _refusal(call, exc, self._keys)) for call in calls]


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


def _parted(
    calls: Sequence[RequestFrame], model: UsedModel, deployment_keys: DeploymentKeys
) -> tuple[list[RequestFrame], list[tuple[RequestFrame, bytes]]]:
    """The calls that fit the model, and the others with their refusals."""
    manifest, takes = model.manifest, model.manifest.input
    fitting, others = [], []
    for call in calls:
        header = call.header
        if header.item_dtype != takes.numpy_dtype or not takes.takes(header.item_shape):
            fact = (
                f"model {manifest} takes {takes}, and the call "
                f"has {header.item_dtype} {header.item_shape}; send what it takes"
            )
            others.append((call, _refusal(call, InputError(fact), deployment_keys)))
        elif (size_bytes := 4 * header.item_count * manifest.output.width) > MAX_ANSWER_BYTES:
            fact = (
                f"the outputs of {header.item_count} items of model {manifest} are {size_bytes} "
                f"bytes, and an answer has {MAX_ANSWER_BYTES} at most; call with fewer, or submit "
                "a job"
            )
            others.append((call, _refusal(call, InputError(fact), deployment_keys)))
        else:
            fitting.append(call)
    return fitting, others


def _answered(
    calls: Sequence[RequestFrame], model: UsedModel, deployment_keys: DeploymentKeys
) -> list[tuple[RequestFrame, bytes]]:
    """Predict all together; if that fails, each alone, so that none fails for another's rows."""
    if not calls:
        return []
    try:
        tensor, output = model.manifest.input, model.manifest.output
        given = [Items.of_array(call.items, tensor=tensor) for call in calls]
        predicted = predict_together(model.batcher.predict_groups, given)
        return [
            (call, _answer(call, items, outputs, output, deployment_keys))
            for call, items, outputs in zip(calls, given, predicted, strict=True)
        ]
    except ModelError as exc:
        if len(calls) == 1:
            return [(calls[0], _refusal(calls[0], exc, deployment_keys))]
        return [pair for call in calls for pair in _answered([call], model, deployment_keys)]


def _answer(
    call: RequestFrame,
    items: Items,
    predicted: Sequence[Predicted],
    output: OutputTensor,
    deployment_keys: DeploymentKeys,
) -> bytes:
    asked = call.header
    rows, errors = items.placed(predicted, output=output, item_count=asked.item_count)
    if errors and asked.schema_version < JOB_VERSION:
        # It knows of no failed rows.
        error = InputError(f"item {errors[0].index}: {errors[0].reason}")
        return _refusal(call, error, deployment_keys)
    header = PredictAnswer(
        schema_version=asked.schema_version,
        id=asked.id,
        item_count=len(rows),
        output_count=rows.shape[1],
        failed=failed_rows(errors) if errors else None,
    )
    return answer_frame(header, rows, deployment_keys=deployment_keys)


def _refusal(call: RequestFrame, exc: FornadaError, deployment_keys: DeploymentKeys) -> bytes:
    header = PredictAnswer(
        id=call.header.id,
        item_count=0,
        output_count=0,
        error=type(exc).__name__,
        detail=exc.public_text[:2000],
    )
    return answer_frame(header, deployment_keys=deployment_keys)


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
