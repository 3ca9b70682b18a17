"""Choose how many shards a worker process has in hand, so that its engine never waits."""

import math
import threading
from collections.abc import Callable

from fornada.events import SILENT, Event, Events, ShardFinished, ThreadsRaised
from fornada.settings import MAX_CHOSEN_THREADS, Settings
from model_store.engines.interface import Engine

#: Shards beyond the running calls: one being fetched and one being stored.
_SPARE = 2
#: Shards after which it may rise.
_NOTED = 8
#: The share of the cores that has idled meanwhile, at least: a shard that waits for a core needs no
#: other beside it.
_IDLE = 0.1
#: The most for calls on cores: with more, threads wait for the GIL, not for the store.
_MOST_ON_CORES = 32
#: Memory for the inputs in hand, in shards of the largest size that the settings allow.
_MOST_LARGE = 4


class Concurrency:
    """The number of shards in hand: messages taken, and threads that work on them.

    It is a guess at first, and rises once finished shards have waited longer for the store. It
    never falls, because other loaded models may still need it.

    Args:
        settings: `worker_threads` fixes the number.
        engine: What the shards are to keep at work.
        idle_share: The share of the process's cores that idled since it was last called.
        events: Hears when the number rises.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        engine: Engine,
        idle_share: Callable[[], float],
        events: Events = SILENT,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._idle_share = idle_share
        self._events = events
        self._lock = threading.Lock()
        self._follow: Callable[[int], None] = lambda _threads: None
        self._noted: list[tuple[int, ShardFinished]] = []
        self.threads = settings.worker_threads or least_threads(engine)

    def follow(self, resize: Callable[[int], None]) -> None:
        """Call `resize` with the number now, and whenever it rises."""
        with self._lock:
            self._follow = resize
            resize(self.threads)

    def hear(self, event: Event) -> None:
        """Note what a shard took."""
        if self._settings.worker_threads is not None or not isinstance(event, ShardFinished):
            return
        threads = threads_for(event, engine=self._engine, settings=self._settings)
        if threads is not None:
            self._note(threads, event)

    def _note(self, threads: int, shard: ShardFinished) -> None:
        with self._lock:
            if not self._noted:
                # Not what idled while there was nothing to do.
                self._idle_share()
            self._noted.append((threads, shard))
            if len(self._noted) < _NOTED:
                return
            # Loading a model lengthens some waits, and shortens none.
            threads, shard = sorted(self._noted, key=lambda noted: noted[0])[_NOTED // 4]
            self._noted.clear()
            if self._idle_share() < _IDLE or threads <= self.threads:
                return
            self.threads = threads
            self._follow(threads)
        self._events.tell(
            ThreadsRaised(
                model=shard.model,
                threads=threads,
                wait_s=shard.store_s or 0.0,
                busy_s=shard.cpu_s or 0.0,
            )
        )


def least_threads(engine: Engine) -> int:
    """The shards in hand that keep the engine at work if the store answers at once."""
    return min(MAX_CHOSEN_THREADS, _calls(engine) + _SPARE)


def threads_for(shard: ShardFinished, *, engine: Engine, settings: Settings) -> int | None:
    """The shards in hand that keep the engine at work, if all are as this one.

    Cores x (1 + wait / compute): Goetz et al., Java Concurrency in Practice (2006), 8.2. A call on
    a device takes the rows of several shards.

    Returns:
        `None` if the shard does not tell: it waited for nothing, or was not computed here.
    """
    if shard.store_s is None or not shard.cpu_s:
        return None
    shards, most = _calls(engine), _MOST_ON_CORES
    if engine.call_bytes is not None:
        shards *= math.ceil((shard.tile_items or 1) / shard.item_count)
        most = MAX_CHOSEN_THREADS
    needed = math.ceil(shards + engine.streams * shard.store_s / shard.cpu_s)
    fitting = _MOST_LARGE * settings.max_shard_bytes // max(1, shard.bytes_in)
    return min(most, fitting, needed)


def _calls(engine: Engine) -> int:
    """Calls whose rows are in hand; those that wait for a core share the rows of one shard."""
    return engine.streams + (engine.calls_ahead if engine.call_bytes is not None else 0)
