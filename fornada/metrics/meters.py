"""The instruments as prometheus-client has them, ready to count."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from fornada.metrics.instrument import Instrument, Kind, Role
from fornada.metrics.instruments import INSTRUMENTS

_Metric = TypeVar("_Metric", bound=MetricWrapperBase)


class BinnedHistogram(Histogram):
    """A histogram that takes what was counted elsewhere, too."""

    def observe_counts(self, counts: Sequence[int], *, total: float) -> None:
        """Add observations.

        Args:
            counts: How many are in each bucket, of those with a bound.
            total: Their sum.
        """
        self._sum.inc(total)
        # Without the last bucket, of what exceeds all bounds.
        for bucket, count in zip(self._buckets[:-1], counts, strict=True):
            if count:
                bucket.inc(count)


class Family(Generic[_Metric]):
    """A metric by the values of its labels. Safe to share between threads."""

    def __init__(self, metric: _Metric) -> None:
        self._metric = metric
        self._known: dict[tuple[str, ...], _Metric] = {}

    def of(self, *values: str) -> _Metric:
        """The metric with these labels."""
        # `labels` takes twice as long, with a lock.
        known = self._known.get(values)
        if known is None:
            known = self._known[values] = self._metric.labels(*values)
        return known


class Meters:
    """The metrics of a process, in a registry."""

    def __init__(self, role: Role, registry: CollectorRegistry) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, BinnedHistogram] = {}
        for instrument in INSTRUMENTS:
            if role in instrument.roles:
                self._add(instrument, registry)

    def _add(self, instrument: Instrument, registry: CollectorRegistry) -> None:
        name, text, labels = instrument.name, instrument.text, instrument.labels
        metric: Counter | Gauge | BinnedHistogram
        if instrument.kind is Kind.COUNTER:
            metric = self._counters[name] = Counter(name, text, labels, registry=registry)
        elif instrument.kind is Kind.GAUGE:
            metric = self._gauges[name] = Gauge(
                name, text, labels, registry=registry, multiprocess_mode=instrument.merging.value
            )
        else:
            metric = self._histograms[name] = BinnedHistogram(
                name, text, labels, registry=registry, buckets=instrument.buckets
            )
        for value in instrument.values:
            # A rate needs the 0 before the first one.
            metric.labels(value)

    def counter(self, instrument: Instrument) -> Counter:
        """The counter."""
        return self._counters[instrument.name]

    def gauge(self, instrument: Instrument) -> Gauge:
        """The gauge."""
        return self._gauges[instrument.name]

    def histogram(self, instrument: Instrument) -> BinnedHistogram:
        """The histogram."""
        return self._histograms[instrument.name]
