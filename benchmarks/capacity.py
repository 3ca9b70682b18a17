"""Predicts a deployment's shards per second with a closed queueing network.

Customers are worker processes. Each spends `own_s` of a shard on its own cores, then `demand_s` at
every shared station in turn. Assumptions:

- Stations serve first come, first served, with exponential service times, for which mean value
  analysis is exact. Measured times vary less: real queues are shorter, and throughput near the knee
  is somewhat better.
- Demands do not grow with the number of workers.
- A worker has one shard at a time. The overlap of its threads is in `own_s`, which is measured as
  seconds per shard of a whole worker.
- The queue always has work, up to what the reconciler refills.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Station:
    """A resource that all workers share."""

    name: str
    #: Seconds that one shard takes, divided by the number of servers.
    demand_s: float


@dataclass(frozen=True, kw_only=True)
class Point:
    """The throughput of a number of workers."""

    workers: int
    shards_per_s: float
    #: Relative to the same workers without shared stations.
    efficiency: float
    #: Utilisation of each station.
    busy: dict[str, float]

    @property
    def busiest(self) -> str:
        """The bottleneck."""
        return max(self.busy, key=self.busy.__getitem__)


def capacity(workers: int, *, own_s: float, stations: Sequence[Station]) -> Point:
    """The throughput of `workers` workers, by exact mean value analysis.

    Args:
        workers: Worker processes, at least 1.
        own_s: Seconds per shard of a single worker, less the stations' demands.
        stations: What the workers share.
    """
    waiting = [0.0] * len(stations)
    shards_per_s = 0.0
    for present in range(1, workers + 1):
        # An arriving worker sees the queues of a network with one worker less.
        stays_s = [s.demand_s * (1 + queue) for s, queue in zip(stations, waiting, strict=True)]
        shards_per_s = present / (own_s + sum(stays_s))
        waiting = [shards_per_s * stay_s for stay_s in stays_s]
    alone = 1 / (own_s + sum(station.demand_s for station in stations))
    return Point(
        workers=workers,
        shards_per_s=shards_per_s,
        efficiency=shards_per_s / (workers * alone),
        busy={station.name: shards_per_s * station.demand_s for station in stations},
    )


def knee(*, own_s: float, stations: Sequence[Station]) -> float:
    """The number of workers beyond which the bottleneck decides: where the two bounds cross."""
    return (own_s + sum(s.demand_s for s in stations)) / max(s.demand_s for s in stations)
