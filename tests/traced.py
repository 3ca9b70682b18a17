"""Spans that tests look at, by the SDK's in-memory exporter."""

from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fornada.tracing.otel import OtelTraces

#: What some other process submitted.
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Spans:
    """Traces whose spans can be read."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        # Apart from the process's own, which can be set once.
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.traces = OtelTraces(self.provider)

    def ended(self) -> list[ReadableSpan]:
        """In the order in which they ended."""
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Those of a name."""
        return [span for span in self.ended() if span.name == name]

    def the(self, name: str) -> ReadableSpan:
        """The only one of its name."""
        (span,) = self.named(name)
        return span


def traceparent_of(span: ReadableSpan) -> str:
    """What names it to other processes."""
    return _named(span.context)


def links_of(span: ReadableSpan) -> list[str]:
    """What it is linked to."""
    return [_named(link.context) for link in span.links]


def _named(context: trace.SpanContext) -> str:
    trace_id, span_id = context.trace_id, context.span_id
    flags = f"{context.trace_flags:02x}"
    return f"00-{trace.format_trace_id(trace_id)}-{trace.format_span_id(span_id)}-{flags}"


def said(span: ReadableSpan, *names: str) -> Sequence[Any]:
    """The values of attributes of ours."""
    return [(span.attributes or {}).get(f"fornada.{name}") for name in names]


def is_below(span: ReadableSpan, above: ReadableSpan) -> bool:
    """Whether it is a child, within the time of its parent."""
    is_child = span.parent is not None and span.parent.span_id == above.context.span_id
    return is_child and (above.start_time or 0) <= (span.start_time or 0) <= (span.end_time or 0)
