"""Traces across real processes: gateway, command, worker, and a collector that hears them."""

import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from fornada.formats.npy import to_npy

from ...traced import TRACEPARENT
from ..gateway.processes import gateway_process, key_headers
from .conftest import START_S

pytestmark = pytest.mark.slow

_TRACE_ID = TRACEPARENT.split("-")[1]


class _Span(NamedTuple):
    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    links: list[str]
    attributes: dict[str, Any]


class _Collector:
    """Receives OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[_Span] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.spans += _spans_in(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def named(self, service: str, name: str) -> list[_Span]:
        return [span for span in self.spans if (span.service, span.name) == (service, name)]


def _spans_in(request: ExportTraceServiceRequest) -> Iterator[_Span]:
    for of_process in request.resource_spans:
        about = {each.key: each.value.string_value for each in of_process.resource.attributes}
        for span in (span for scope in of_process.scope_spans for span in scope.spans):
            yield _Span(
                service=about["service.name"],
                name=span.name,
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                links=[link.trace_id.hex() for link in span.links],
                attributes={
                    each.key: getattr(each.value, each.value.WhichOneof("value"))
                    for each in span.attributes
                },
            )


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Collector]:
    collector = _Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    # What is heard was sent as processes ended.
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    yield collector
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()


def test_one_trace_leads_from_a_request_to_the_worker_and_ended_processes_lose_no_span(
    deploy: Callable[..., Any], collector: _Collector, images: NDArray[np.uint8], tmp_path: Any
) -> None:
    # given a worker and a gateway with traces
    deployment, start = deploy(traces=True, log_format="json")
    worker = start()
    items = images[:3].tolist()
    with gateway_process(deployment.environ, log_path=tmp_path / "gateway.log") as gateway:
        headers = {**key_headers(deployment.settings), "traceparent": TRACEPARENT}
        with httpx2.Client(base_url=gateway.url, headers=headers, timeout=START_S) as http:
            # when a job and a call come through the gateway, and a job by a command
            submitted = http.post(
                "/v1/jobs", json={"model": "m", "input": {"type": "inline", "items": items}}
            )
            predicted = http.post("/v1/models/m/predict", json={"items": items})
        assert (202, 200) == (submitted.status_code, predicted.status_code), submitted.text
        job = deployment.client.job(submitted.json()["id"])
        deployment.probabilities(job)
        (tmp_path / "items.npy").write_bytes(to_npy(images))
        command = deployment.run("submit", str(tmp_path / "items.npy"), "--model", "m", "--wait")
        assert 0 == command.returncode, command.stderr
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(START_S) is not None
    worker.terminate()
    assert 0 == worker.wait(START_S)

    # then the job is a link in the caller's trace
    (request,) = collector.named("fornada-gateway", "POST /v1/jobs")
    (submit,) = collector.named("fornada-gateway", "submit")
    assert (_TRACE_ID, TRACEPARENT.split("-")[2]) == (request.trace_id, request.parent_id)
    assert (_TRACE_ID, request.span_id) == (submit.trace_id, submit.parent_id)
    assert job.id == submit.attributes["fornada.job_id"]
    shards = {
        span.attributes["fornada.job_id"]: span
        for span in collector.named("fornada-worker", "shard")
    }
    shard = shards[job.id]
    assert ([_TRACE_ID], "ok") == (shard.links, shard.attributes["fornada.result"])
    below = {span.name for span in collector.spans if span.parent_id == shard.span_id}
    assert {"fetch", "predict", "put", "commit"} <= below | {"load model"}

    # and the call is part of it
    (call,) = collector.named("fornada-gateway", "predict")
    (answer,) = collector.named("fornada-worker", "answer calls")
    assert (_TRACE_ID, call.span_id) == (answer.trace_id, answer.parent_id)

    # and a command that ended at once has sent its span, which the shard is linked to
    (of_command,) = collector.named("fornada", "submit")
    assert [of_command.trace_id] == shards[of_command.attributes["fornada.job_id"]].links
