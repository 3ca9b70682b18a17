"""Spans by the API of OpenTelemetry; its SDK, or an application's, decides where they go."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from fornada import __version__
from fornada.logs import bound, shown
from fornada.tracing.interface import Kind, Value
from fornada.tracing.traceparent import HEADER, checked_traceparent

#: OpenTelemetry's limit of a span by default.
_MOST_LINKS = 128
_KINDS: Mapping[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_PROPAGATOR = TraceContextTextMapPropagator()


class OtelTraces:
    """`Traces` through OpenTelemetry.

    Args:
        provider: Makes the tracer; by default the process's own.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("fornada", __version__, provider)

    @contextmanager
    def span(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        attributes: Mapping[str, Value] | None = None,
        links: Sequence[str] = (),
        is_root: bool = False,
    ) -> Iterator[None]:
        """As `Traces`."""
        with self._tracer.start_as_current_span(
            name,
            context=Context() if is_root else None,
            kind=_KINDS[kind],
            attributes=attributes,
            links=_links(links),
            # Texts of errors may quote data, and tracebacks do.
            record_exception=False,
            set_status_on_exception=False,
        ):
            trace_id = self.trace_id()
            try:
                with nullcontext() if trace_id is None else bound(trace_id=trace_id):
                    yield
            except MemoryError:
                raise
            except Exception as exc:
                self.note({"error.type": type(exc).__qualname__}, error=shown(exc))
                raise

    def past(
        self,
        name: str,
        *,
        duration_s: float,
        ago_s: float = 0.0,
        kind: Kind = "internal",
        attributes: Mapping[str, Value] | None = None,
        links: Sequence[str] = (),
        parent: str | None = None,
        error: str | None = None,
    ) -> None:
        """As `Traces`."""
        end_ns = time.time_ns() - round(ago_s * 1e9)
        span = self._tracer.start_span(
            name,
            context=None if parent is None else _context(parent),
            kind=_KINDS[kind],
            attributes=attributes,
            links=_links(links),
            start_time=end_ns - round(duration_s * 1e9),
        )
        if error is not None:
            span.set_status(StatusCode.ERROR, error)
        span.end(end_ns)

    def note(self, attributes: Mapping[str, Value], *, error: str | None = None) -> None:
        """As `Traces`."""
        span = trace.get_current_span()
        span.set_attributes(attributes)
        if error is not None:
            span.set_status(StatusCode.ERROR, error)

    def happened(self, what: str, attributes: Mapping[str, Value]) -> None:
        """As `Traces`."""
        trace.get_current_span().add_event(what, attributes)

    def traceparent(self) -> str | None:
        """As `Traces`."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return checked_traceparent(carrier.get(HEADER))

    def trace_id(self) -> str | None:
        """As `Traces`."""
        context = trace.get_current_span().get_span_context()
        return trace.format_trace_id(context.trace_id) if context.is_valid else None


def _context(traceparent: str) -> Context:
    return _PROPAGATOR.extract({HEADER: traceparent}, Context())


def _links(traceparents: Sequence[str]) -> list[Link]:
    spans = [trace.get_current_span(_context(each)) for each in traceparents[:_MOST_LINKS]]
    contexts = [span.get_span_context() for span in spans]
    return [Link(context) for context in contexts if context.is_valid]
