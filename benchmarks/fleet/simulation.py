"""A job on a fleet of workers, simulated event by event from measured `Costs`.

Nothing is drawn by chance: the same fleet gives the same figures. What is left out: the network,
variation between shards, and workers that die.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from itertools import repeat

from benchmarks.fleet.costs import Costs
from fornada.jobs.outcome_store import OUTCOME_READERS

#: Messages of a refill in one round trip.
_TRIP = 100
_ROUNDS_PER_LOOK = 30
_PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class Store:
    """An object store."""

    #: Seconds of a request, waiting for its turn aside.
    request_s: float
    #: Requests that it serves at a time; more wait.
    servers: int
    #: Requests of a shard before its worker predicts, and after.
    before: int = 1
    after: int = 2


def embedded(costs: Costs, *, cores: int = 2) -> Store:
    """The store of `fornada up`, which ignores conditions."""
    before, after = 1, 5
    return Store(
        request_s=costs.shard_store_s / (before + after),
        servers=cores,
        before=before,
        after=after,
    )


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Workers, their job, and the settings that matter."""

    workers: int
    #: Shards that a worker process has in hand.
    threads: int
    shards: int
    #: Seconds that a shard takes its worker, of which it does `threads` at a time.
    shard_s: float
    store: Store
    window: int = 1000
    interval_s: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Run:
    """What happened."""

    #: From the submission to the last outcome.
    working_s: float
    #: From there to the end of the job: all outcomes are read.
    ending_s: float
    shards_per_s: float
    #: Share of what the same workers would do if none ever waited.
    efficiency: float
    #: Shares of the time that each was busy: `Redis`, `store`, `leader`.
    busy: dict[str, float]
    #: Share of their time that workers had no message.
    idle: float


class _Station:
    """Serves in order of arrival."""

    def __init__(self, servers: int, *, slowness: float = 1.0) -> None:
        self._free_at_s = [0.0] * servers
        self._servers = servers
        self._slowness = slowness
        self.busy_s = 0.0

    def serve(self, at_s: float, service_s: float) -> float:
        """When a request that arrives now, not before the last one, is answered."""
        self.busy_s += service_s / self._servers
        ends_s = max(at_s, self._free_at_s[0]) + service_s * self._slowness
        heapq.heapreplace(self._free_at_s, ends_s)
        return ends_s


@dataclass(frozen=True, kw_only=True)
class _Visit:
    """A process takes this long, at a station if one is named."""

    takes_s: float
    station: _Station | None = None


#: A process: what it does next, or `None` to wait until it is woken.
_Process = Generator[_Visit | None]


class _Simulation:
    """Processes (the leader, and each shard that a worker may have in hand) on one clock."""

    def __init__(self, fleet: Fleet, costs: Costs) -> None:
        self._fleet, self._costs = fleet, costs
        # What workers ask without work slows everything else there.
        self._standing = min(0.99, fleet.workers * costs.idle_redis_s)
        self._redis = _Station(1, slowness=1 / (1 - self._standing))
        self._store = _Station(fleet.store.servers)
        self._now_s = 0.0
        self._due: list[tuple[float, int, _Process]] = []
        self._order = itertools.count()
        self._queued, self._unsent, self._left = 0, fleet.shards, fleet.shards
        #: Workers without a message, and since when.
        self._waiting: deque[tuple[_Process, float]] = deque()
        self._idle_s = self._leader_s = 0.0

    def run(self) -> Run:
        """Until the last outcome."""
        fleet = self._fleet
        self._resume(self._leader())
        for _ in range(fleet.workers * fleet.threads):
            self._resume(self._worker())
        while self._left:
            self._now_s, _, process = heapq.heappop(self._due)
            self._resume(process)
        self._idle_s += sum(self._now_s - since_s for _, since_s in self._waiting)
        return Run(
            working_s=self._now_s,
            ending_s=self._ending_s(),
            shards_per_s=fleet.shards / self._now_s,
            efficiency=fleet.shards * fleet.shard_s / fleet.threads / fleet.workers / self._now_s,
            busy={
                "Redis": self._standing + self._redis.busy_s / self._now_s,
                "store": self._store.busy_s / self._now_s,
                "leader": self._leader_s / self._now_s,
            },
            idle=self._idle_s / self._now_s / fleet.workers / fleet.threads,
        )

    def _resume(self, process: _Process) -> None:
        visit = next(process)
        if visit is None:
            self._waiting.append((process, self._now_s))
            return
        if visit.station is None:
            at_s = self._now_s + visit.takes_s
        else:
            at_s = visit.station.serve(self._now_s, visit.takes_s)
        heapq.heappush(self._due, (at_s, next(self._order), process))

    def _leader(self) -> _Process:
        """The client sends a window full of messages; then the leader refills it in its rounds."""
        shards, costs = self._fleet.shards, self._costs
        yield from self._send(self._fleet.window)
        for number in itertools.count(1):
            yield _Visit(takes_s=self._fleet.interval_s)
            began_s = self._now_s
            room = self._fleet.window - self._queued
            if number % _ROUNDS_PER_LOOK == 1:
                for _ in range(-(-shards // _PAGE)):
                    yield _Visit(takes_s=costs.page_store_s, station=self._store)
            yield _Visit(takes_s=shards * costs.round_redis_s, station=self._redis)
            yield _Visit(takes_s=shards * costs.round_leader_s)
            yield from self._send(room)
            self._leader_s += self._now_s - began_s

    def _send(self, room: int) -> _Process:
        count = max(0, min(room, self._unsent))
        self._unsent -= count
        while count:
            trip = min(_TRIP, count)
            count -= trip
            yield _Visit(takes_s=trip * self._costs.message_leader_s)
            yield _Visit(takes_s=trip * self._costs.message_redis_s, station=self._redis)
            self._queued += trip
            for _ in range(min(trip, len(self._waiting))):
                process, since_s = self._waiting.popleft()
                self._idle_s += self._now_s - since_s
                self._resume(process)

    def _worker(self) -> _Process:
        """One of the shards that a worker may have in hand."""
        store, costs = self._fleet.store, self._costs
        redis = _Visit(takes_s=costs.shard_redis_s / 2, station=self._redis)
        request = _Visit(takes_s=store.request_s, station=self._store)
        while True:
            while not self._queued:
                yield None
            self._queued -= 1
            yield redis
            yield from repeat(request, store.before)
            yield _Visit(takes_s=self._fleet.shard_s)
            yield from repeat(request, store.after)
            yield redis
            self._left -= 1

    def _ending_s(self) -> float:
        """Every outcome is read, a few at a time, by one process."""
        asked_s = self._fleet.store.request_s / min(OUTCOME_READERS, self._fleet.store.servers)
        return self._fleet.shards * max(asked_s, self._costs.end_worker_s)


def simulate(fleet: Fleet, costs: Costs) -> Run:
    """What `fleet` does with its job."""
    return _Simulation(fleet, costs).run()
