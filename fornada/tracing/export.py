"""Export the spans of one of our own processes, as OpenTelemetry's variables say.

An application that uses the client configures OpenTelemetry itself, or has
`opentelemetry-instrument` do it.
"""

import atexit
import os
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from fornada import __version__
from fornada.errors import ConfigError, MissingExtraError
from fornada.settings import Settings
from fornada.tracing.opening import MISSING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

#: How long a process that ends waits for its last spans to be sent.
END_WITHIN_S = 3.0
_EXPORTERS = "opentelemetry_traces_exporter"
_PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}

#: Sends what is left, and waits a moment for that; called before a process ends.
EndTraces = Callable[[], object]


def export_traces(settings: Settings, *, service: str, instance: str | None = None) -> EndTraces:
    """Have spans exported from now on, if the settings ask for it.

    Args:
        settings: Of the process.
        service: What the process is, for `service.name`; OTEL_SERVICE_NAME wins.
        instance: Which of them, for `service.instance.id`.

    Returns:
        What to call before `os._exit`; else it is called as the process ends.

    Raises:
        MissingExtraError: `fornada[traces]` is not installed.
        ConfigError: OTEL_TRACES_EXPORTER names an exporter that is not installed.
    """
    if not settings.traces:
        return _nothing
    try:
        from opentelemetry import trace  # noqa: PLC0415 - optional
        from opentelemetry.sdk import resources  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above
    except ImportError as exc:
        raise MissingExtraError(MISSING) from exc
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        # `opentelemetry-instrument` came first.
        return _nothing
    own = {"service.name": service, "service.version": __version__}
    own |= {"service.instance.id": instance} if instance else {}
    # Both read OTEL_* by themselves; what is stated there wins.
    stated = resources.OTELResourceDetector().detect()
    provider = TracerProvider(
        resource=resources.Resource.create(own).merge(stated), shutdown_on_exit=False
    )
    for exporter in _exporters():
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    end = _Ending(provider.shutdown).end
    atexit.register(end)
    return end


def _exporters() -> "Iterator[SpanExporter]":
    """Those of OTEL_TRACES_EXPORTER, by default OTLP over HTTP."""
    for stated in (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(","):
        name = stated.strip()
        if name == "none":
            continue
        if name == "console":
            yield _on_stderr()
            continue
        if name == "otlp":
            protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
                "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
            )
            name = _PROTOCOLS.get(protocol, protocol)
        found = list(entry_points(group=_EXPORTERS, name=name))
        if not found:
            raise ConfigError(
                f"no exporter {name!r} is installed, which OTEL_TRACES_EXPORTER={stated} asks for; "
                "install its package, or name otlp, console or none"
            )
        yield found[0].load()()


def _on_stderr() -> "SpanExporter":
    """A line of JSON for each span; results of commands have stdout to themselves."""
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415 - optional

    return ConsoleSpanExporter(
        out=sys.stderr, formatter=lambda span: str(span.to_json(indent=None)) + "\n"
    )


def _nothing() -> None:
    """Nothing is exported."""


class _Ending:
    """Ends the export in a thread: a collector that does not answer holds up no process.

    The thread waits from the start, as none can be started while a process ends.
    """

    def __init__(self, shutdown: Callable[[], object]) -> None:
        self._shutdown = shutdown
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._run, name="end-traces", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Send what is left, within `END_WITHIN_S`."""
        self._asked.set()
        self._thread.join(END_WITHIN_S)

    def _run(self) -> None:
        self._asked.wait()
        self._shutdown()
