"""Traces cost nothing until they are asked for, and a process that ends sends its last spans."""

import json
import os
import socket
import subprocess
import sys

import pytest

from fornada.errors import ConfigError

_ASKS = """
import os, sys
from fornada.settings import Settings
from fornada.tracing.export import export_traces
from fornada.tracing.opening import open_traces
settings = Settings.from_env(os.environ)
end_traces = export_traces(settings, service="shop", instance="shop-1")
traces = open_traces(settings)
with traces.span("submit", kind="producer", attributes={"fornada.job_id": "a"}):
    traceparent = traces.traceparent()
    print(traceparent)
with traces.span("shard", links=[traceparent] if traceparent else [], is_root=True):
    traces.past("fetch", duration_s=0.5)
"""


def _run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    # In its own process, as a provider is set once.
    own = {n: v for n, v in os.environ.items() if not n.startswith(("FORNADA_", "OTEL_"))}
    return subprocess.run(
        [sys.executable, "-c", code], env={**own, **environ}, capture_output=True, text=True
    )


def test_unless_asked_for_nothing_that_makes_spans_is_imported() -> None:
    code = f"{_ASKS}\nprint([n for n in sys.modules if n.startswith('opentelemetry')])"

    done = _run(code, OTEL_TRACES_EXPORTER="console")

    assert ("", 0) == (done.stderr, done.returncode)
    assert ["None", "[]"] == done.stdout.splitlines()


def test_a_short_process_sends_its_spans_as_it_ends() -> None:
    done = _run(_ASKS, FORNADA_TRACES="true", OTEL_TRACES_EXPORTER="console")

    assert 0 == done.returncode, done.stderr
    submit, fetch, shard = [json.loads(line) for line in done.stderr.splitlines()]
    assert ["submit", "fetch", "shard"] == [each["name"] for each in (submit, fetch, shard)]
    ids = [submit["context"][name].removeprefix("0x") for name in ("trace_id", "span_id")]
    assert ids == done.stdout.split("-")[1:3]
    (link,) = shard["links"]
    assert submit["context"]["trace_id"] == link["context"]["trace_id"]
    assert (None, shard["context"]["span_id"]) == (shard["parent_id"], fetch["parent_id"])
    about = submit["resource"]["attributes"]
    assert ("shop", "shop-1") == (about["service.name"], about["service.instance.id"])


@pytest.mark.slow
def test_opentelemetrys_own_variables_win() -> None:
    done = _run(
        _ASKS,
        FORNADA_TRACES="true",
        OTEL_TRACES_EXPORTER="console",
        OTEL_SERVICE_NAME="own",
        OTEL_TRACES_SAMPLER="always_off",
    )
    kept = _run(
        _ASKS, FORNADA_TRACES="1", OTEL_TRACES_EXPORTER="none,console", OTEL_SERVICE_NAME="own"
    )

    # what is not kept is still named, so that nobody else keeps the rest of it
    assert ("", 0) == (done.stderr, int(done.stdout.rstrip()[-2:], 16) & 1)
    (first, *_) = [json.loads(line) for line in kept.stderr.splitlines()]
    assert "own" == first["resource"]["attributes"]["service.name"]


@pytest.mark.slow
def test_an_exporter_that_is_not_there_is_an_error_that_names_it() -> None:
    done = _run(_ASKS, FORNADA_TRACES="true", OTEL_TRACES_EXPORTER="jaeger")

    assert done.stderr.splitlines()[-1].startswith(f"{ConfigError.__module__}.ConfigError: no ")
    assert "'jaeger'" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_process_that_ends_at_once_sends_its_spans_before() -> None:
    done = _run(
        f"{_ASKS}\nend_traces()\nos._exit(75)",
        FORNADA_TRACES="true",
        OTEL_TRACES_EXPORTER="console",
    )

    assert (75, 3) == (done.returncode, len(done.stderr.splitlines())), done.stderr


@pytest.mark.slow
def test_a_collector_that_does_not_answer_holds_up_no_end() -> None:
    # given one that accepts and says nothing, and one that is not there
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        socket.create_server(("127.0.0.1", 0)) as closed,
    ):
        ports = [silent.getsockname()[1], closed.getsockname()[1]]
        closed.close()
        for port in ports:
            done = _run(
                _ASKS,
                FORNADA_TRACES="true",
                OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
                OTEL_EXPORTER_OTLP_TIMEOUT="3600",
            )

            assert 0 == done.returncode, done.stderr
