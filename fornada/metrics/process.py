"""Metrics of a process that serves its own: a gateway."""

from collections.abc import Iterator
from contextlib import contextmanager

from fornada.events import Event
from fornada.metrics.exposition import Exposition, exposed
from fornada.metrics.instrument import Role
from fornada.metrics.recorder import Recorder
from fornada.metrics.server import MetricsServer
from fornada.metrics.slots import own_registry
from fornada.settings import Settings


class ProcessMetrics:
    """Counts what happens in this process, and exposes it. Safe to share between threads."""

    def __init__(self, role: Role) -> None:
        counted = own_registry()
        self._recorder = Recorder(role, registry=counted)
        #: What scrapers get.
        self.registry = exposed(counted.collect)

    def hear(self, event: Event) -> None:
        """Count what happened."""
        self._recorder.hear(event)

    def exposition(self, accept: str) -> Exposition:
        """The metrics, for a request with this `Accept` header."""
        return Exposition.of(self.registry, accept=accept)


@contextmanager
def gateway_metrics(settings: Settings) -> Iterator[ProcessMetrics]:
    """Count in this process, and serve it at FORNADA_METRICS_PORT while the block runs.

    Raises:
        ConfigError: The port cannot be listened on.
    """
    metrics = ProcessMetrics(Role.GATEWAY)
    server = MetricsServer(settings, metrics.registry)
    try:
        yield metrics
    finally:
        server.stop()
