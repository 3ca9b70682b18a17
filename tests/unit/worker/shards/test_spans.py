"""Spans of shards: linked to what submitted them, with their stages below, errors recorded."""

import functools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from fornada import logs
from fornada.errors import PredictionError, StoreUnavailableError
from fornada.events import CallsAnswered
from fornada.jobs.ids import message_for
from fornada.queue.message import ShardMessage
from fornada.records import ModelPin
from fornada.testing import TEST_KEYS
from worker.shards.spans import ShardSpans

from ....traced import TRACEPARENT, Spans, is_below, links_of, said

ONE = np.ones((1, 3), np.float32)
message_of = functools.partial(message_for, deployment_keys=TEST_KEYS)


@pytest.fixture
def spans(world: Any) -> Spans:
    """Those of what `run` runs in the world."""
    spans = Spans()
    world.spans = ShardSpans(spans.traces, queue="fornada")
    world.events._listeners += (world.spans.hear,)
    return spans


def run(world: Any, messages: Sequence[ShardMessage], traceparent: str | None = None) -> Any:
    return world.spans.around(world.service.run_bundle)(messages, traceparent)


def test_a_shard_is_linked_to_its_submission_and_has_its_stages_below(
    world: Any, spans: Spans
) -> None:
    world.submit([ONE, ONE])

    assert ["ok"] == run(world, [ShardMessage(job_id="job", shard=1)], TRACEPARENT)

    shard = spans.the("shard")
    assert shard.parent is None
    assert [TRACEPARENT] == links_of(shard)
    assert SpanKind.CONSUMER == shard.kind
    assert ["job", 1, "ok", "m:1", 1, 0, world.outcome(1).attempt] == said(
        shard, "job_id", "shard", "result", "model", "item_count", "failed_count", "attempt"
    )
    assert "fornada" == (shard.attributes or {})["messaging.destination.name"]
    below = [span for span in spans.ended() if span is not shard]
    assert ["load model", "fetch", "wait", "predict", "put", "commit"] == [
        span.name for span in below
    ]
    assert all(is_below(span, shard) for span in below)


def test_each_shard_of_a_bundle_has_a_span_that_says_whose_it_is(world: Any, spans: Spans) -> None:
    good, bad, late = (world.submit_small([ONE * n]) for n in (1, 2, 3))
    world.coordination.end_jobs({late.job_id: "CANCELLED"})
    world.jobs.finish(late, "CANCELLED", "asked for")
    messages = [message_of(job, 0) for job in (good, bad, late)]

    run(world, messages, TRACEPARENT)

    bundle = spans.the("bundle")
    assert 3 == (bundle.attributes or {})["messaging.batch.message_count"]
    shards = spans.named("shard")
    assert all(is_below(shard, bundle) for shard in shards)
    assert [[TRACEPARENT]] * 3 == [links_of(shard) for shard in shards]
    assert [[good.job_id, "ok"], [bad.job_id, "ok"], [late.job_id, "ended"]] == [
        said(shard, "job_id", "result") for shard in shards
    ]
    assert ["job ended"] * 2 == [event.name for event in bundle.events]


def test_why_a_shard_failed_is_in_its_span(world: Any, spans: Spans) -> None:
    world.submit([ONE])

    def fail(_operation: str, key: str) -> None:
        if "input/" in key:
            raise StoreUnavailableError("the store is away")

    world.objects.before = fail
    run(world, [ShardMessage(job_id="job", shard=0)])
    run(world, [ShardMessage(job_id="none", shard=0)])

    away, none = spans.named("shard")
    assert ["deferred"] == said(away, "result")
    assert (StatusCode.ERROR, "the store is away") == (
        away.status.status_code,
        away.status.description,
    )
    assert [] == links_of(away)
    assert StatusCode.ERROR == none.status.status_code
    assert "none" in str(none.status.description)


def test_no_span_quotes_data(world: Any, spans: Spans) -> None:
    world.engine.predict_error = PredictionError("the engine says: 1.0, 1.0, 1.0")
    world.submit([ONE])

    def run_wrongly(_messages: Sequence[ShardMessage]) -> Any:
        raise ValueError("could not convert 'pixels'")

    run(world, [ShardMessage(job_id="job", shard=0)])
    with pytest.raises(ValueError, match="pixels"):
        world.spans.around(run_wrongly)([ShardMessage(job_id="job", shard=0)], None)

    failed = spans.named("shard")[1]
    assert (StatusCode.ERROR, "ValueError") == (
        failed.status.status_code,
        failed.status.description,
    )
    assert "ValueError" == (failed.attributes or {})["error.type"]
    told = "".join(str(span.to_json()) for span in spans.ended())
    assert "pixels" not in told
    assert "1.0, 1.0" not in told


def test_lines_of_a_shard_have_its_trace(
    world: Any, spans: Spans, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs.logging.root, "handlers", [])
    monkeypatch.setattr(logs.logging.root, "level", 0)
    world.submit([ONE])

    logs.configure(level="INFO", log_format="json")
    run(world, [ShardMessage(job_id="job", shard=0)])

    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (finished,) = [line for line in lines if line["event"] == "shard finished"]
    shard = spans.the("shard")
    assert f"{shard.context.trace_id:032x}" == finished["trace_id"]
    assert ["job", 0, world.outcome().attempt] == [
        finished[name] for name in ("job_id", "shard", "attempt")
    ]


def test_an_answered_call_belongs_to_whoever_waits_and_several_are_linked(spans: Spans) -> None:
    listener = ShardSpans(spans.traces, queue="fornada")
    other = TRACEPARENT.replace("b7", "c8")
    told = {"model": ModelPin(name="m", version=1, sha256="0" * 64), "duration_s": 0.5}

    for call_count, traceparents in ((1, (TRACEPARENT,)), (2, (TRACEPARENT, other)), (1, ())):
        listener.hear(
            CallsAnswered(call_count=call_count, row_count=3, traceparents=traceparents, **told)
        )

    one, both = spans.named("answer calls")
    assert one.parent is not None
    assert TRACEPARENT.split("-")[2] == f"{one.parent.span_id:016x}"
    assert [] == links_of(one)
    assert both.parent is None
    assert [TRACEPARENT, other] == links_of(both)


def test_what_is_enqueued_later_is_linked_as_well(world: Any) -> None:
    # given a job of whose shards the queue had room for none
    world.submit([ONE] * 2)
    world.submit([ONE], job_id="untraced")
    world.coordination.note_trace(["job"], TRACEPARENT)

    world.new_reconciler().round()

    assert 3 == len(world.queue)
    assert {"job": TRACEPARENT} == world.sender.traces
