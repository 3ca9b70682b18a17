"""Choose how many shards a worker process has in hand, so that its engine never waits."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fornada import keys
from fornada.errors import StoreError
from fornada.events import SILENT, Events, ThreadsRaised
from fornada.formats.items import item_size_bytes
from fornada.formats.rows import blank_rows
from fornada.logs import get_logger
from fornada.settings import MAX_CHOSEN_THREADS, Settings
from fornada.storage.interface import ObjectStore
from fornada.tensors import InputTensor, OutputTensor
from model_store.manifest import ModelManifest
from worker.compute.predictor import Predictor

log = get_logger(__name__)

#: Shards beyond the running calls: one being fetched and one being stored.
_SPARE = 2
#: The most that a probe reads or writes; larger objects are assumed to take as long per byte.
_MOST_PROBE_BYTES = 1024 * 1024
#: Measurements of each call, of which the shortest counts: the first may open a connection.
_TRIES = 2
#: A call that takes longer is not measured again.
_LONG_S = 0.1
#: More than a core multiplies in a second.
_MOST_MULTIPLICATIONS_A_S = 100e9
#: At this ratio of compute to waiting, no more shards in hand than `_SPARE` are needed, whatever
#: the number of cores up to 16.
_OUTLASTS = 8
#: Stands for a size that differs from item to item.
_OPEN_SIDE = 64
#: Memory for the inputs in hand, in shards of the largest size that the settings allow.
_MOST_LARGE = 4

#: Returns the clock and the processor time of the calling thread, in seconds.
Stopwatch = Callable[[], tuple[float, float]]


def _stopwatch() -> tuple[float, float]:
    return time.perf_counter(), time.thread_time()


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardCost:
    """What a full shard of a model costs a worker."""

    #: Time in which it waits for the store and needs no core.
    wait_s: float
    #: Time in which it keeps one core busy: predict calls and the requests' own work.
    busy_s: float
    #: The size of its input, all of which is in memory.
    size_bytes: int

    def threads(self, settings: Settings, *, streams: int) -> int:
        """The shards in hand that keep `streams` calls running.

        cores x (1 + wait / compute): Goetz et al., Java Concurrency in Practice (2006), 8.2.
        """
        needed = math.ceil(streams * (1 + self.wait_s / self.busy_s))
        most = min(MAX_CHOSEN_THREADS, _MOST_LARGE * settings.max_shard_bytes // self.size_bytes)
        return max(least_threads(streams), min(most, needed))


def least_threads(streams: int) -> int:
    """The shards in hand that keep `streams` calls running if the store answers at once."""
    return min(MAX_CHOSEN_THREADS, streams + _SPARE)


class Concurrency:
    """The number of shards in hand: messages taken, and threads that work on them.

    It starts low and rises when a model is loaded that needs more. It never falls, because other
    loaded models may still need it.

    Args:
        settings: `worker_threads` fixes the number.
        objects: The store of the shards.
        streams: Calls that the engine computes at a time.
        events: Hears when the number rises.
        stopwatch: The clock, and the processor time of the calling thread.
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
        """Call `resize` with the number now, and whenever it rises."""
        with self._lock:
            self._follow = resize
            resize(self.threads)

    def fit(self, manifest: ModelManifest, predictor: Predictor) -> None:
        """Measure a shard of the model, and raise the number if it needs more."""
        if self._settings.worker_threads is not None or manifest.is_open:
            # A shard of open sizes may cost anything.
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
            # The model works with the threads that there are.
            log.warning("shard not measured", model=str(manifest), error=str(exc))
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
    """Measure how long a shard of `items_per_shard` waits for the store, and computes.

    Raises:
        StoreError: The store cannot be reached.
    """
    takes, gives = manifest.inputs, manifest.outputs
    sides = [_sides(tensor) for tensor in takes]
    item_bytes = sum(map(_item_bytes, takes))
    items = max(1, min(settings.items_per_shard, settings.max_shard_bytes // item_bytes))
    store_s, store_cpu_s = _requests(
        objects,
        input_bytes=items * item_bytes,
        result_bytes=items * sum(map(_item_bytes, gives)),
        stopwatch=stopwatch,
    )
    wait_s = max(0.0, store_s - store_cpu_s)
    predict_s = items * predictor.work.multiplications / _MOST_MULTIPLICATIONS_A_S
    # A call may take long, and need not be measured where compute outlasts the waiting anyway.
    # Items of open sizes may be too small for the model.
    is_short = predict_s < _OUTLASTS * wait_s or predictor.work.is_light
    if is_short and not any(tensor.is_open for tensor in takes):
        dtypes = [tensor.numpy_dtype for tensor in takes]
        tile = blank_rows(predictor.tile_items, sides, dtypes)
        tile_s, _ = _best(lambda: predictor.predict_tile(tile), stopwatch=stopwatch)
        predict_s = items * tile_s / predictor.tile_items
    return ShardCost(wait_s=wait_s, busy_s=predict_s + store_cpu_s, size_bytes=items * item_bytes)


def _sides(tensor: InputTensor | OutputTensor) -> list[int]:
    return [_OPEN_SIDE if side is None else side for side in tensor.shape]


def _item_bytes(tensor: InputTensor | OutputTensor) -> int:
    return item_size_bytes(_sides(tensor), tensor.numpy_dtype)


def _requests(
    objects: ObjectStore, *, input_bytes: int, result_bytes: int, stopwatch: Stopwatch
) -> tuple[float, float]:
    """Time and processor time of a shard's requests: read the input, write data and outcome."""
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
    """The shortest time of the call, and the processor time of this thread in it."""
    tries: list[tuple[float, float]] = []
    for _ in range(_TRIES):
        began_s, began_cpu_s = stopwatch()
        call()
        ended_s, ended_cpu_s = stopwatch()
        # A coarse clock may not tick during a short call.
        tries.append((max(ended_s - began_s, 1e-9), ended_cpu_s - began_cpu_s))
        if tries[-1][0] > _LONG_S:
            break
    return min(tries)
