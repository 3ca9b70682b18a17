"""Open the traces that the settings ask for."""

from fornada.errors import MissingExtraError
from fornada.settings import Settings
from fornada.tracing.interface import NO_TRACES, Traces

MISSING = "FORNADA_TRACES needs OpenTelemetry; install fornada[traces], or unset it"


def open_traces(settings: Settings) -> Traces:
    """Spans through the process's tracer provider, an application's own too; or none at all.

    Raises:
        MissingExtraError: `fornada[traces]` is not installed.
    """
    if not settings.traces:
        return NO_TRACES
    try:
        from fornada.tracing.otel import OtelTraces  # noqa: PLC0415 - optional
    except ImportError as exc:
        raise MissingExtraError(MISSING) from exc
    return OtelTraces()
