"""What Prometheus scrapes: the metrics of a registry, over HTTP."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder, start_http_server
from prometheus_client.registry import Collector

from fornada.errors import ConfigError
from fornada.logs import get_logger
from fornada.settings import Settings

log = get_logger(__name__)

#: A gauge that is set to it is not exposed: of several processes the largest counts, and files
#: that processes share forget no label.
GONE = -math.inf


class _Present(Collector):
    """Metrics without gauges that are gone, and without when each was made."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        """The metrics."""
        for metric in self._collect():
            metric.samples = [
                sample
                for sample in metric.samples
                if sample.value != GONE and not sample.name.endswith("_created")
            ]
            yield metric


def exposed(*collects: Callable[[], Iterable[Metric]]) -> CollectorRegistry:
    """A registry of what these give, for scrapers."""
    registry = CollectorRegistry()
    for collect in collects:
        registry.register(_Present(collect))
    return registry


@dataclass(frozen=True, kw_only=True, slots=True)
class Exposition:
    """Text in the format that a scraper asks for."""

    text: bytes
    media_type: str

    @classmethod
    def of(cls, registry: CollectorRegistry, *, accept: str) -> "Exposition":
        """The metrics of a registry, for a request with this `Accept` header."""
        encode, media_type = choose_encoder(accept)
        return cls(text=encode(registry), media_type=media_type)


class MetricsServer:
    """Serves the metrics of a registry at FORNADA_METRICS_PORT, to whoever reaches it."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        """Serve from now on.

        Raises:
            ConfigError: The port is taken, or the host is none of this machine's.
        """
        host, port = settings.metrics_host, settings.metrics_port or 0
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except (OSError, UnicodeError) as exc:
            why = (isinstance(exc, OSError) and exc.strerror) or "it is no name of a host"
            raise ConfigError(
                f"FORNADA_METRICS_PORT={port} on {host} cannot be listened on ({why}); "
                "name another port, or an address of this machine in FORNADA_METRICS_HOST"
            ) from exc
        host = f"[{host}]" if ":" in host else host
        self.url = f"http://{host}:{self._server.server_port}/metrics"
        log.info("metrics served", url=self.url)

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
