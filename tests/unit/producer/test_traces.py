"""Spans of what a client asks for, and how workers learn of them."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from fornada.calls.frames import RequestFrame
from fornada.errors import InputError, MissingExtraError, ModelNotFoundError
from fornada.imports import imports_blocked
from fornada.settings import Settings
from fornada.tracing.opening import open_traces
from producer import client as client_module

from ...traced import Spans, said, traceparent_of

ITEMS = np.zeros((3, 2, 2), np.uint8)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    spans = Spans()
    monkeypatch.setattr(client_module, "open_traces", lambda _settings: spans.traces)
    return spans


def test_a_submission_names_its_span_to_workers_and_to_reconcilers(
    spans: Spans, new_world: Any
) -> None:
    # given a job that is uploaded by several threads, and small ones
    world = new_world(max_inline_bytes=5)

    job = world.client.submit(ITEMS, model="m@prod", items_per_shard=1)
    small = world.client.submit_many([ITEMS[:1], ITEMS[:1]], model="m@prod")

    one, many = spans.named("submit")
    assert (None, SpanKind.PRODUCER) == (one.parent, one.kind)
    assert ["m@prod", job.id, 1] == said(one, "model", "job_id", "job_count")
    assert ["m@prod", None, 2] == said(many, "model", "job_id", "job_count")
    expected = {job.id: traceparent_of(one)} | {each.id: traceparent_of(many) for each in small}
    assert expected == world.sender.traces
    assert expected == world.coordination.traces_of([*expected, "other"])


def test_a_submission_is_part_of_what_its_caller_does(spans: Spans, world: Any) -> None:
    with spans.traces.span("request"), pytest.raises(ModelNotFoundError):
        world.client.submit(ITEMS, model="other")

    request, submit = spans.the("request"), spans.the("submit")
    assert submit.parent is not None
    assert request.context.span_id == submit.parent.span_id
    assert StatusCode.ERROR == submit.status.status_code
    assert "ModelNotFoundError" == (submit.attributes or {})["error.type"]


def test_a_call_has_a_line_with_its_span(spans: Spans, world: Any) -> None:
    asked: list[bytes] = []

    class Channel:
        def ask(self, _queue: str, frames: Any) -> None:
            asked.extend(frames)
            raise InputError("not today")

        def time_ms(self) -> int:
            return 0

        def collect(self, _client: str, *, count: int, timeout_s: float) -> list[bytes]:
            return []

    client = client_module.Client(
        objects=world.objects,
        coordination=world.coordination,
        sender=world.sender,
        settings=Settings(),
        channel=Channel(),
    )
    with client, pytest.raises(InputError):
        client.predict(ITEMS, model="m")

    predict = spans.the("predict")
    assert SpanKind.CLIENT == predict.kind
    (frame,) = map(RequestFrame.parse, asked)
    assert traceparent_of(predict) == frame.traceparent
    assert 3 == frame.header.item_count


def test_without_the_extra_the_error_names_it() -> None:
    names = ["opentelemetry", "fornada.tracing.otel"]
    held = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    try:
        with imports_blocked(names), pytest.raises(MissingExtraError, match=r"fornada\[traces\]"):
            open_traces(Settings(traces=True))
    finally:
        sys.modules.update(held)
