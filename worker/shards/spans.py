"""Spans of shards, from events: the protocol itself knows of none."""

import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from fornada.events import (
    BundleSplit,
    CallsAnswered,
    Event,
    JobEnded,
    MessageDropped,
    ModelLoaded,
    ShardDeferred,
    ShardDied,
    ShardFinished,
    ShardIsolated,
    StageEnded,
)
from fornada.queue.message import ShardMessage
from fornada.tracing.interface import Traces, Value
from worker.shards.phases import ShardResult

Run = Callable[[Sequence[ShardMessage]], Sequence[ShardResult]]

#: Results that are no success, and that no event explains.
_FAILED = {ShardResult.FAILED: "the job failed", ShardResult.GIVEN_BACK: "given back"}


@dataclass(kw_only=True, slots=True)
class _Told:
    """What events said of the shards of one message."""

    facts: dict[tuple[str, int], dict[str, Value]] = field(default_factory=dict)
    errors: dict[tuple[str, int], str] = field(default_factory=dict)

    def hear(self, event: Event) -> None:
        """Remember what an event says of a shard."""
        match event:
            case ShardFinished(job_id=job_id, shard=shard):
                self.facts[job_id, shard] = _finished(event)
            case ShardDied(job_id=job_id, shard=shard, why=why):
                self.errors[job_id, shard] = why
            case ShardDeferred(job_id=job_id, shard=shard, error=error):
                self.errors[job_id, shard] = error
            case MessageDropped(job_id=str(job_id), shard=int(shard), error=error):
                self.errors[job_id, shard] = error
            case _:
                pass


class ShardSpans:
    """Gives each message a span, with those of its stages below, linked to its submission.

    A message of several shards has the span `bundle`, and below it a `shard` for each.

    Args:
        traces: Where they go.
        queue: The queue that messages come from.
    """

    def __init__(self, traces: Traces, *, queue: str) -> None:
        self._traces = traces
        self._queue = queue
        self._told: ContextVar[_Told | None] = ContextVar("told", default=None)

    def around(self, run: Run) -> Callable[[Sequence[ShardMessage], str | None], object]:
        """`run` within a span, given the `traceparent` of the submission."""

        def traced(messages: Sequence[ShardMessage], traceparent: str | None) -> object:
            links = [] if traceparent is None else [traceparent]
            is_one = len(messages) == 1
            with self._traces.span(
                "shard" if is_one else "bundle",
                kind="consumer",
                attributes=self._attributes(messages),
                links=links,
                is_root=True,
            ):
                told, began_s = _Told(), time.monotonic()
                token = self._told.set(told)
                try:
                    results = run(messages)
                finally:
                    self._told.reset(token)
                for message, result in zip(messages, results, strict=True):
                    shard = (message.job_id, message.shard)
                    facts = {"fornada.result": str(result), **told.facts.get(shard, {})}
                    error = told.errors.get(shard) or _FAILED.get(result)
                    if is_one:
                        self._traces.note(facts, error=error)
                    else:
                        self._traces.past(
                            "shard",
                            duration_s=time.monotonic() - began_s,
                            attributes=_identity(message) | facts,
                            links=links,
                            error=error,
                        )
                return results

        return traced

    def hear(self, event: Event) -> None:
        """A listener."""
        if isinstance(event, CallsAnswered):
            self._answered(event)
            return
        told = self._told.get()
        if told is None:
            return
        told.hear(event)
        match event:
            case StageEnded(stage=stage, duration_s=duration_s, ago_s=ago_s):
                about: dict[str, Value] = {"fornada.item_count": event.item_count}
                self._traces.past(stage.value, duration_s=duration_s, ago_s=ago_s, attributes=about)
            case ModelLoaded(model=model, engine=engine, duration_s=duration_s):
                about = {"fornada.model": str(model), "fornada.engine": engine}
                self._traces.past("load model", duration_s=duration_s, attributes=about)
            case ShardIsolated():
                self._traces.happened("shard isolated", {"fornada.shard": event.shard})
            case BundleSplit(why=why):
                self._traces.happened("bundle split", {"fornada.why": why})
            case JobEnded(job_id=job_id, state=state):
                about = {"fornada.job_id": job_id, "fornada.job_state": state}
                self._traces.happened("job ended", about)
            case _:
                pass

    def _attributes(self, messages: Sequence[ShardMessage]) -> dict[str, Value]:
        about: dict[str, Value] = {
            "messaging.system": "celery",
            "messaging.operation.name": "run",
            "messaging.operation.type": "process",
            "messaging.destination.name": self._queue,
        }
        if len(messages) == 1:
            return about | _identity(messages[0])
        return about | {"messaging.batch.message_count": len(messages)}

    def _answered(self, event: CallsAnswered) -> None:
        """A call's own span if it is one call, else one that is linked to all of them."""
        if not event.traceparents:
            return
        is_one = event.call_count == 1
        self._traces.past(
            "answer calls",
            duration_s=event.duration_s,
            kind="server" if is_one else "consumer",
            attributes={
                "fornada.model": str(event.model),
                "fornada.call_count": event.call_count,
                "fornada.item_count": event.row_count,
            },
            parent=event.traceparents[0] if is_one else None,
            links=() if is_one else event.traceparents,
        )


def _identity(message: ShardMessage) -> dict[str, Value]:
    return {"fornada.job_id": message.job_id, "fornada.shard": message.shard}


def _finished(event: ShardFinished) -> dict[str, Value]:
    facts: dict[str, Value] = {
        "fornada.model": str(event.model),
        "fornada.item_count": event.item_count,
        "fornada.failed_count": event.failed_count,
    }
    return facts if event.attempt is None else facts | {"fornada.attempt": event.attempt}
