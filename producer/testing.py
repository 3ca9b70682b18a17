"""A client for callers' own tests: everything in memory, predicted by a function."""

import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fornada.calls.answers import answer_to
from fornada.calls.frames import RequestFrame
from fornada.coordination.interface import ShardEnd
from fornada.errors import UsageError
from fornada.figures.shards import ShardFigures
from fornada.formats.items import Array
from fornada.formats.rows import Rows, blank_rows
from fornada.jobs.items import Items, Predicted
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.shard_items import read_items
from fornada.jobs.store import JobStore
from fornada.queue.memory import RecordingSender
from fornada.queue.message import ShardMessage
from fornada.records import now
from fornada.settings import Settings
from fornada.storage.memory import InMemoryObjectStore
from fornada.tensors import InputTensor, Kind, OutputTensor, stored_dtype
from fornada.testing import InMemoryCoordination
from fornada.trust.input_prefixes import InputPrefixes
from model_store.manifest import ModelDraft
from model_store.store import ModelStore
from producer.client import Client

#: What `predict` is given: dtype [items, *item_shape], by the names of the inputs if there are
#: several. Strings are `bytes` in arrays of dtype object.
Given = Array | Mapping[str, Array]
#: What it returns: [items, *shape of the output], by the names of the outputs if there are several.
Answer = ArrayLike | Mapping[str, ArrayLike]
Predict = Callable[[Any], Answer]


def in_memory_client(
    *,
    model: str,
    item_shape: Sequence[int | None] | None = None,
    classes: Sequence[str] | None = None,
    predict: Predict | None = None,
    item_dtype: str = "uint8",
    input_name: str = "inputs",
    kind: Kind = "probabilities",
    inputs: Sequence[InputTensor] | None = None,
    outputs: Sequence[OutputTensor] | None = None,
    aliases: Mapping[str, int] | None = None,
    run_at_once: bool = True,
) -> Client:
    """A real `Client` whose store, broker and worker are in this process's memory.

    It returns real objects (`Job`, `JobStatus`, `Results`, errors) and checks what the real one
    checks. Nothing is contacted. `close` ends its only thread, which `Client.predict` starts.

    Args:
        model: Name of the model, which is published as version 1.
        item_shape: Shape of its items; `None` for a side that varies.
        classes: Its classes, two of them if it is binary, or the names of its values.
        predict: Computes its outputs, of an item in the shape of the output; by default all classes
            are equally likely. Several inputs are given as a mapping by name, and several outputs
            returned as one.
        item_dtype: A dtype that models take.
        input_name: Name of its input.
        kind: What the outputs mean.
        inputs: Its inputs, in place of `item_shape`, `item_dtype` and `input_name`.
        outputs: Its outputs, in place of `classes` and `kind`; by default as `predict` computes
            them, of kind tensor where it returns a mapping.
        aliases: Aliases of the model; by default `prod` points to version 1.
        run_at_once: `False` leaves jobs QUEUED, to test waiting and cancelling.

    Raises:
        UsageError: The model's inputs or outputs are stated twice or not at all, or `predict`
            returns others.
        MessageError: `item_dtype`, `kind` or the number of classes makes no sense.

    Example:
        >>> client = in_memory_client(model="m", item_shape=[28, 28], classes=["a", "b"])
        >>> job = client.submit(np.zeros((3, 28, 28), np.uint8), model="m@prod")
        >>> job.wait(timeout_s=1).state
        <JobState.SUCCEEDED: 'SUCCEEDED'>
    """
    if (item_shape is None) == (inputs is None):
        raise UsageError("give either item_shape or inputs, which say what the model takes")
    if outputs is not None and (classes is not None or predict is None):
        raise UsageError("outputs need predict, and name their own classes; leave classes out")
    taken = {"name": input_name, "dtype": item_dtype, "shape": list(item_shape or [])}
    takes = list(inputs or [InputTensor.from_plain(taken, where="the model's input")])
    answer = predict or _equally_likely(classes, kind)
    golden = blank_rows(
        1, [[side or 1 for side in t.shape] for t in takes], [t.numpy_dtype for t in takes]
    )
    gives = list(outputs or _computed(answer(_given(golden, takes)), classes=classes, kind=kind))
    computed = _Model(takes=takes, gives=gives, answer=answer)
    objects, coordination, settings = InMemoryObjectStore(), InMemoryCoordination(), Settings()
    computed.publish(ModelStore(objects=objects), model, golden, aliases or {"prod": 1})
    worker = InlineWorker(
        jobs=JobStore(objects=objects, prefixes=InputPrefixes.from_settings(settings)),
        coordination=coordination,
        predict=computed.predict,
    )
    return Client(
        objects=objects,
        coordination=coordination,
        sender=worker if run_at_once else RecordingSender(),
        settings=settings,
        channel=_InlineChannel(computed if run_at_once else None),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Model:
    """A function as a model."""

    takes: list[InputTensor]
    gives: list[OutputTensor]
    answer: Predict

    def predict(self, rows: Rows) -> Predicted:
        """What the function gives for rows.

        Raises:
            UsageError: It gives other outputs.
        """
        return Predicted(self._computed(rows), {})

    def _computed(self, rows: Rows) -> Rows:
        answer = self.answer(_given(rows, self.takes))
        named = answer if isinstance(answer, Mapping) else {self.gives[0].name: answer}
        names = [output.name for output in self.gives]
        if sorted(named) != sorted(names):
            raise UsageError(f"predict returned {sorted(named)}, and the model gives {names}")
        arrays = (_as_output(named[output.name], output) for output in self.gives)
        return Rows(*arrays)

    def publish(
        self, models: ModelStore, name: str, golden: Rows, aliases: Mapping[str, int]
    ) -> None:
        """Publish it as version 1."""
        models.publish(
            ModelDraft(name=name, inputs=self.takes, outputs=self.gives),
            artifact=b"in memory",
            golden_inputs=golden,
            golden_outputs=self._computed(golden),
            check=lambda _artifact: None,
        )
        for alias, version in aliases.items():
            models.promote(name, version, alias)


def _given(rows: Rows, takes: Sequence[InputTensor]) -> Given:
    return rows.only if len(takes) == 1 else rows.named(takes)


def _computed(answer: Answer, *, classes: Sequence[str] | None, kind: Kind) -> list[OutputTensor]:
    """The outputs of a model that computes `answer` for an item."""
    if not isinstance(answer, Mapping):
        given = {
            "name": "outputs",
            "shape": list(np.shape(answer)[1:]),
            "kind": kind,
            "classes": None if classes is None else list(classes),
        }
        return [OutputTensor.from_plain(given, where="the model's output")]
    arrays = {name: np.asarray(array) for name, array in answer.items()}
    return [
        OutputTensor.from_plain(
            {
                "name": name,
                "dtype": "string" if array.dtype.kind in "USO" else stored_dtype(array.dtype.name),
                "shape": list(array.shape[1:]),
                "kind": "tensor",
            },
            where=f"the model's output {name!r}",
        )
        for name, array in arrays.items()
    ]


def _as_output(answer: ArrayLike, output: OutputTensor) -> Array:
    if output.dtype == "string":
        cells = np.asarray(answer)
        texts = [each if isinstance(each, bytes) else str(each).encode() for each in cells.flat]
        return np.array(texts, object).reshape(cells.shape)
    array = np.asarray(answer, output.numpy_dtype)
    # A number an item may be computed as [items].
    return array[:, np.newaxis] if array.ndim == 1 and output.shape == [1] else array


class InlineWorker:
    """A `Sender` that computes shards as they are enqueued and commits their outcomes."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        coordination: InMemoryCoordination,
        predict: Callable[[Rows], Predicted],
    ) -> None:
        self._jobs = jobs
        self._coordination = coordination
        self._predict = predict

    def enqueue(
        self,
        messages: Iterable[ShardMessage],
        *,
        together: int = 1,  # noqa: ARG002 - nothing is sent
        traces: Mapping[str, str] | None = None,  # noqa: ARG002 - as above
    ) -> None:
        """Compute the shards."""
        for message in messages:
            self._run(message)

    def reserved(self) -> set[ShardMessage]:
        """None: each is computed at once."""
        return set()

    def _run(self, message: ShardMessage) -> None:
        manifest = self._jobs.manifest(message.job_id)
        spec = manifest.shards[message.shard]
        began_at, attempt, began_cpu_s = now(), uuid.uuid4().hex, time.process_time()
        sizes: list[int] = []
        items = read_items(manifest, spec, jobs=self._jobs, on_read=sizes.append)
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
            figures=ShardFigures.of(
                columns,
                manifest.gives,
                errors,
                cpu_s=time.process_time() - began_cpu_s,
                bytes_in=sum(sizes),
                bytes_out=ref.size_bytes,
            ),
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

    def __init__(self, model: _Model | None) -> None:
        self._model = model
        self._changed = threading.Condition()
        self._calls: Counter[str] = Counter()
        self._answers: dict[str, list[bytes]] = defaultdict(list)

    def ask(self, queue: str, frames: Sequence[bytes]) -> None:
        with self._changed:
            if self._model is None:
                self._calls[queue] += len(frames)
                return
            for frame in frames:
                call = RequestFrame.parse(frame)
                model = self._model
                columns = call.columns(model.takes, model="the model")
                items = Items.of_columns(columns, takes=model.takes)
                placed = items.placed(
                    items.predicted(model.predict),
                    gives=model.gives,
                    item_count=call.header.item_count,
                )
                answer = answer_to(call.header, *placed, model.gives, model="the model")
                self._answers[call.header.client].append(answer)
            self._changed.notify_all()

    def take(self, queue: str, *, count: int, timeout_s: float) -> tuple[list[bytes], int]:  # noqa: ARG002 - nobody takes any
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

    def waiting(self, queue: str) -> int:
        return self._calls[queue]

    def time_ms(self) -> int:
        return int(time.time() * 1000)


def _equally_likely(classes: Sequence[str] | None, kind: Kind) -> Predict:
    if not classes:
        raise UsageError("without classes, the size of the outputs is unknown; give predict")
    width = 1 if kind == "binary" else len(classes)

    def predict(images: Array) -> Array:
        return np.full((len(images), width), 1 / len(classes), np.float32)

    return predict
