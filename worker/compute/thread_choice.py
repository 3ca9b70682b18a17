"""How many shards a worker process has in hand: as many as keep its engine from waiting."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fornada import keys
from fornada.errors import StoreError
from fornada.events import SILENT, Events, ThreadsRaised
from fornada.formats.items import Array, item_size_bytes
from fornada.logs import get_logger
from fornada.settings import MAX_CHOSEN_THREADS, Settings
from fornada.storage.interface import ObjectStore
from model_store.manifest import ModelManifest
from worker.compute.predictor import Predictor

log = get_logger(__name__)

#: Beyond the calls that run: a shard that is fetched, and one that is stored.
_SPARE = 2
#: Larger inputs are taken to come no faster a byte.
_MOST_PROBE_BYTES = 1024 * 1024
#: Each is timed so often, and the best counts: the first may open a connection.
_TRIES = 2
#: A call that takes longer was no accident.
_LONG_S = 0.1

#: So many shards of the largest size that the settings allow may be in memory.
_MOST_LARGE = 4

#: The clock, and the processor time of the thread that asks, in seconds.
Stopwatch = Callable[[], tuple[float, float]]


def _stopwatch() -> tuple[float, float]:
    return time.perf_counter(), time.thread_time()


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardCost:
    """What a full shard of a model takes a worker."""

    #: Seconds of waiting for the store, in which it needs no core of ours.
    wait_s: float
    #: Seconds of one core: to compute, and for the requests to the store.
    busy_s: float
    #: Its input, which is in memory whole.
    size_bytes: int

    def threads(self, settings: Settings, *, streams: int) -> int:
        """How many shards keep `streams` calls running.

        cores x (1 + wait / compute): Goetz et al., Java Concurrency in Practice (2006), 8.2.
        """
        needed = math.ceil(streams * (1 + self.wait_s / self.busy_s))
        most = min(MAX_CHOSEN_THREADS, _MOST_LARGE * settings.max_shard_bytes // self.size_bytes)
        return max(least_threads(streams), min(most, needed))


def least_threads(streams: int) -> int:
    """How many shards keep `streams` calls running where the store takes next to no time."""
    return min(MAX_CHOSEN_THREADS, streams + _SPARE)


class Concurrency:
    """The shards that this process takes at a time, each in a thread: messages and threads alike.

    It begins with few and takes more once a model is loaded that needs them. Never fewer: another
    that is loaded may need them still.

    Args:
        settings: `worker_threads` holds, where it is set.
        objects: Where shards will lie.
        streams: Calls of the engine that run side by side.
        stopwatch: Seconds by the clock, and of the calling thread's processor time.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        objects: ObjectStore,
        streams: int,
        events: Events = SILENT,
        stopwatch: Stopwatch = _stopwatch,
    ) -> None:
        self._settings = settings
        self._objects = objects
        self._streams = streams
        self._events = events
        self._stopwatch = stopwatch
        self._lock = threading.Lock()
        self._follow: Callable[[int], None] = lambda _threads: None
        self.threads = settings.worker_threads or least_threads(streams)

    def follow(self, resize: Callable[[int], None]) -> None:
        """Call `resize` with the threads now, and whenever there shall be more."""
        with self._lock:
            self._follow = resize
            resize(self.threads)

    def fit(self, manifest: ModelManifest, predictor: Predictor) -> None:
        """Have as many threads as shards of the model need; tried out, unless the settings say."""
        if self._settings.worker_threads is not None:
            return
        try:
            cost = shard_cost(
                manifest,
                predictor,
                objects=self._objects,
                settings=self._settings,
                stopwatch=self._stopwatch,
            )
        except StoreError as exc:
            # The model is good, and with the threads that there are it will do.
            log.warning("threads not tried out", model=str(manifest), error=str(exc))
            return
        threads = cost.threads(self._settings, streams=self._streams)
        with self._lock:
            if threads <= self.threads:
                return
            self.threads = threads
            self._follow(threads)
        self._events.tell(
            ThreadsRaised(
                model=manifest.pin, threads=threads, wait_s=cost.wait_s, busy_s=cost.busy_s
            )
        )


def shard_cost(
    manifest: ModelManifest,
    predictor: Predictor,
    *,
    objects: ObjectStore,
    settings: Settings,
    stopwatch: Stopwatch = _stopwatch,
) -> ShardCost:
    """Try what a shard of `items_per_shard` waits for the store, and what it computes.

    Raises:
        StoreError: The store cannot be reached.
    """
    item_bytes = item_size_bytes(manifest.item_shape, manifest.item_dtype)
    items = max(1, min(settings.items_per_shard, settings.max_shard_bytes // item_bytes))
    tile: Array = np.zeros((predictor.tile_items, *manifest.item_shape), manifest.item_dtype)
    tile_s, _ = _best(lambda: predictor.predict_tile(tile), stopwatch=stopwatch)
    store_s, store_cpu_s = _requests(
        objects,
        input_bytes=items * item_bytes,
        result_bytes=items * 4 * max(1, len(manifest.classes)),
        stopwatch=stopwatch,
    )
    return ShardCost(
        wait_s=max(0.0, store_s - store_cpu_s),
        busy_s=items * tile_s / predictor.tile_items + store_cpu_s,
        size_bytes=items * item_bytes,
    )


def _requests(
    objects: ObjectStore, *, input_bytes: int, result_bytes: int, stopwatch: Stopwatch
) -> tuple[float, float]:
    """A shard's requests one after the other, its input, its data and its outcome: as `_best`."""
    key = keys.probe()
    result = bytes(min(result_bytes, _MOST_PROBE_BYTES))
    whole = bytes(min(input_bytes, _MOST_PROBE_BYTES))
    try:
        write_s, write_cpu_s = _best(lambda: objects.put(key, result), stopwatch=stopwatch)
        objects.put(key, whole)
        read_s, read_cpu_s = _best(lambda: objects.get(key), stopwatch=stopwatch)
    finally:
        objects.delete(key)
    larger = input_bytes / len(whole)
    return read_s * larger + 2 * write_s, read_cpu_s * larger + 2 * write_cpu_s


def _best(call: Callable[[], object], *, stopwatch: Stopwatch) -> tuple[float, float]:
    """What the call takes by the clock, and of that the processor time of this thread."""
    tries: list[tuple[float, float]] = []
    for _ in range(_TRIES):
        began_s, began_cpu_s = stopwatch()
        call()
        ended_s, ended_cpu_s = stopwatch()
        # A clock that ticks too seldom for so short a call.
        tries.append((max(ended_s - began_s, 1e-9), ended_cpu_s - began_cpu_s))
        if tries[-1][0] > _LONG_S:
            break
    return min(tries)
