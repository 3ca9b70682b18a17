"""How many shards a second a deployment does, by a closed queueing network; assumptions below.

Customers are worker processes. Each does its own part of a shard on cores of its own (`own_s`,
nobody waits for it), and asks every shared station in turn for `demand_s` of its time. Assumed:

- Stations answer first come, first served, in times that scatter around the demand
  (exponentially, for which mean value analysis is exact). Measured times scatter less, so that
  queues are shorter and throughput near the knee is somewhat better.
- Demands do not grow with the number of workers.
- A worker has one shard at a time. Its threads overlap fetching, predicting and storing, which
  `own_s` has in it when it is measured as seconds per shard of one whole worker.
- There is always work in the queue, up to what the reconciler refills.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Station:
    """Something that all workers share."""

    name: str
    #: Seconds of it that one shard takes, already divided by the servers that it has.
    demand_s: float


@dataclass(frozen=True, kw_only=True)
class Point:
    """What so many workers come to."""

    workers: int
    shards_per_s: float
    #: Of what the same workers would do with nothing shared.
    efficiency: float
    #: Of each station, the share of time in which it is busy.
    busy: dict[str, float]

    @property
    def busiest(self) -> str:
        """The station that is the next to hold everything up."""
        return max(self.busy, key=self.busy.__getitem__)


def capacity(workers: int, *, own_s: float, stations: Sequence[Station]) -> Point:
    """The throughput of so many workers, by exact mean value analysis.

    Args:
        workers: Worker processes, at least 1.
        own_s: Seconds per shard of one worker that has the stations to itself, less their demands.
        stations: What they share.
    """
    waiting = [0.0] * len(stations)
    shards_per_s = 0.0
    for present in range(1, workers + 1):
        # Who arrives finds the queue that there is with one worker less.
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
    """Workers from which on the busiest station decides: where the two bounds cross."""
    return (own_s + sum(s.demand_s for s in stations)) / max(s.demand_s for s in stations)
