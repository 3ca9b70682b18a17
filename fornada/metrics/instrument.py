"""What a metric is: its name, kind, labels and buckets, and which processes have it."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The types of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Role(StrEnum):
    """The processes that measure."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"
    GATEWAY = "gateway"


class Merging(StrEnum):
    """How a gauge of several processes becomes one, as prometheus-client names it."""

    #: The largest of the processes that run.
    LIVE_MAX = "livemax"
    #: The largest of all processes that ran.
    MAX = "max"


@dataclass(frozen=True, slots=True)
class Instrument:
    """A metric."""

    name: str
    text: str
    roles: frozenset[Role]
    kind: Kind
    labels: tuple[str, ...] = ()
    #: The values of its only label, all of which are exposed from the start, as 0.
    values: tuple[str, ...] = ()
    #: Upper bounds of a histogram's buckets.
    buckets: tuple[float, ...] = ()
    #: Of a gauge.
    merging: Merging = Merging.LIVE_MAX

    @property
    def series(self) -> tuple[str, ...]:
        """The names that a query may use."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)
