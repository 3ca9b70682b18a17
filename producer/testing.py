"""A client for callers' own tests: everything in memory, predicted by a function."""

import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fornada.calls.answers import answer_to
from fornada.calls.frames import RequestFrame
from fornada.coordination.interface import ShardEnd
from fornada.errors import UsageError
from fornada.formats.items import Array
from fornada.formats.rows import Rows, blank
from fornada.jobs.items import Items, Predicted
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.shard_items import read_items
from fornada.jobs.store import JobStore
from fornada.queue.memory import RecordingSender
from fornada.queue.message import ShardMessage
from fornada.records import now
from fornada.settings import Settings
from fornada.storage.memory import InMemoryObjectStore
from fornada.tensors import InputTensor, Kind, OutputTensor
from fornada.testing import InMemoryCoordination
from model_store.manifest import ModelDraft
from model_store.store import ModelStore
from producer.client import Client

#: item dtype [items, *item_shape] → float32 [items, classes]. For several inputs or outputs, a
#: mapping of arrays by their names.
Predict = Callable[[Any], Any]
_Predict = Callable[[Rows], Predicted]


def in_memory_client(
    *,
    model: str,
    item_shape: Sequence[int | None] = (),
    classes: Sequence[str] | None = None,
    predict: Predict | None = None,
    item_dtype: str = "uint8",
    input_name: str = "inputs",
    kind: Kind = "probabilities",
    aliases: Mapping[str, int] | None = None,
    run_at_once: bool = True,
    inputs: Sequence[InputTensor] | None = None,
    outputs: Sequence[OutputTensor] | None = None,
) -> Client:
    """A real `Client` whose store, broker and worker are in this process's memory.

    It returns real objects (`Job`, `JobStatus`, `Results`, errors) and checks what the real one
    checks. Nothing is contacted. `close` ends its only thread, which `predict` starts.

    Args:
        model: Name of the model, which is published as version 1.
        item_shape: Shape of its items; `None` for a side that varies.
        classes: Its classes, two of them if it is binary, or the names of its values.
        predict: Computes its outputs, of an item in the shape of the output; by default all classes
            are equally likely.
        item_dtype: A dtype that models take.
        input_name: Name of its input.
        kind: What the outputs mean.
        aliases: Aliases of the model; by default `prod` points to version 1.
        run_at_once: `False` leaves jobs QUEUED, to test waiting and cancelling.
        inputs: Its inputs, in place of `item_shape`, `item_dtype` and `input_name`.
        outputs: Its outputs, in place of `classes` and `kind`; needs `predict`.

    Raises:
        UsageError: Without `predict` and `classes`, the outputs have no size.
        MessageError: `item_dtype`, `kind` or the number of classes makes no sense.

    Example:
        >>> client = in_memory_client(model="m", item_shape=[28, 28], classes=["a", "b"])
        >>> job = client.submit(np.zeros((3, 28, 28), np.uint8), model="m@prod")
        >>> job.wait(timeout_s=1).state
        <JobState.SUCCEEDED: 'SUCCEEDED'>
    """
    objects, coordination = InMemoryObjectStore(), InMemoryCoordination()
    takes = inputs
    if takes is None:
        taken = {"name": input_name, "dtype": item_dtype, "shape": list(item_shape)}
        takes = [InputTensor.from_plain(taken, where="the model's input")]
    answer = predict or _equally_likely(classes, kind)
    given = Rows(*(blank([1, *(s or 1 for s in t.shape)], t.numpy_dtype) for t in takes))
    gives = outputs
    if gives is None:
        shape = np.asarray(answer(_by_name(given, takes))).shape[1:]
        plain = {
            "name": "outputs",
            "shape": list(shape),
            "kind": kind,
            "classes": None if classes is None else list(classes),
        }
        gives = [OutputTensor.from_plain(plain, where="the model's output")]
    models = ModelStore(objects=objects)
    models.publish(
        ModelDraft(name=model, inputs=list(takes), outputs=list(gives)),
        artifact=b"in memory",
        golden_inputs=np.zeros((1, 1), np.uint8),
        golden_outputs=np.zeros((1, 1), np.float32),
        check=lambda _artifact: None,
    )
    for alias, version in (aliases or {"prod": 1}).items():
        models.promote(model, version, alias)
    jobs = JobStore(objects=objects)

    def predicted(rows: Rows) -> Predicted:
        computed = answer(_by_name(rows, takes))
        arrays = computed if len(gives) > 1 else {gives[0].name: computed}
        return Predicted(Rows(*(np.asarray(arrays[t.name], t.numpy_dtype) for t in gives)), {})

    sender = _InlineWorker(jobs=jobs, coordination=coordination, predict=predicted)
    return Client(
        objects=objects,
        coordination=coordination,
        sender=sender if run_at_once else RecordingSender(),
        settings=Settings(),
        channel=_InlineChannel(predicted if run_at_once else None, takes=takes, gives=gives),
    )


class _InlineWorker:
    """A `Sender` that computes shards as they are enqueued and commits their outcomes."""

    def __init__(
        self, *, jobs: JobStore, coordination: InMemoryCoordination, predict: _Predict
    ) -> None:
        self._jobs = jobs
        self._coordination = coordination
        self._predict = predict

    def enqueue(self, messages: Iterable[ShardMessage], *, together: int = 1) -> None:  # noqa: ARG002 - nothing is sent
        for message in messages:
            self._run(message)

    def reserved(self) -> set[ShardMessage]:
        return set()

    def _run(self, message: ShardMessage) -> None:
        manifest = self._jobs.manifest(message.job_id)
        spec = manifest.shards[message.shard]
        began_at, attempt = now(), uuid.uuid4().hex
        items = read_items(manifest, spec, jobs=self._jobs)
        columns, errors = items.placed(
            items.predicted(self._predict), gives=manifest.gives, item_count=spec.item_count
        )
        ref = self._jobs.put_outputs(manifest, message.shard, attempt, columns)
        outcome = ShardOutcome(
            schema_version=manifest.schema_version,
            job_id=message.job_id,
            shard=message.shard,
            status="ok",
            attempt=attempt,
            item_ids_sha256=spec.item_ids.sha256 if spec.item_ids else None,
            data=ref,
            item_count=spec.item_count,
            item_errors=errors,
            model_sha256=manifest.model.sha256,
            engine="in memory",
            worker="in memory",
            began_at=began_at,
            committed_at=now(),
        )
        self._jobs.commit(outcome)
        done_count = self._coordination.mark_done(
            message.job_id, [ShardEnd(message.shard, item_errors=len(errors))]
        )
        if done_count == len(manifest.shards):
            final = self._jobs.finish_if_complete(manifest)
            if final is not None:
                self._coordination.end_jobs({message.job_id: final.state})


class _InlineChannel:
    """A `CallChannel` whose calls are answered at once, or never."""

    def __init__(
        self,
        predict: _Predict | None,
        *,
        takes: Sequence[InputTensor],
        gives: Sequence[OutputTensor],
    ) -> None:
        self._predict = predict
        self._takes, self._gives = takes, gives
        self._changed = threading.Condition()
        self._calls: list[bytes] = []
        self._answers: dict[str, list[bytes]] = defaultdict(list)

    def ask(self, queue: str, frames: Sequence[bytes]) -> None:  # noqa: ARG002 - there is one
        with self._changed:
            if self._predict is None:
                self._calls += frames
                return
            for frame in frames:
                call = RequestFrame.parse(frame)
                items = Items.of_columns(
                    call.columns(self._takes, model="in memory"), takes=self._takes
                )
                placed = items.placed(
                    items.predicted(self._predict),
                    gives=self._gives,
                    item_count=call.header.item_count,
                )
                answer = answer_to(call.header, *placed, self._gives, model="in memory")
                self._answers[call.header.client].append(answer)
            self._changed.notify_all()

    def take(self, queue: str, *, count: int, timeout_s: float) -> tuple[list[bytes], int]:  # noqa: ARG002 - as above
        return [], self.time_ms()

    def answer(self, frames: Mapping[str, Sequence[bytes]]) -> None:
        with self._changed:
            for client, answers in frames.items():
                self._answers[client] += answers
            self._changed.notify_all()

    def collect(self, client: str, *, count: int, timeout_s: float) -> list[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: self._answers[client], timeout=timeout_s)
            taken, self._answers[client] = (
                self._answers[client][:count],
                self._answers[client][count:],
            )
            return taken

    def waiting(self, queue: str) -> int:  # noqa: ARG002 - as above
        return len(self._calls)

    def time_ms(self) -> int:
        return int(time.time() * 1000)


def _by_name(rows: Rows, takes: Sequence[InputTensor]) -> Any:
    return rows.named(takes) if len(takes) > 1 else rows.only


def _equally_likely(classes: Sequence[str] | None, kind: Kind) -> Predict:
    if not classes:
        raise UsageError("without classes, the size of the outputs is unknown; give predict")
    width = 1 if kind == "binary" else len(classes)

    def predict(images: Array) -> Array:
        return np.full((len(images), width), 1 / len(classes), np.float32)

    return predict
