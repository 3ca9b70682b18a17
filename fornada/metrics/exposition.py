"""What Prometheus scrapes: the metrics of a registry, as text."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

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
