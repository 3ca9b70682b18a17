"""How many rows a model's predict calls have: tried out once on each kind of machine, then kept."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from pydantic import AwareDatetime, Field

from fornada import keys
from fornada.errors import ObjectNotFoundError
from fornada.events import SILENT, Events, ModelCalibrated
from fornada.formats.items import Array
from fornada.records import SCHEMA_VERSION, Record, now
from fornada.settings import MAX_BATCH_SIZE, Settings
from fornada.storage.interface import ObjectStore
from model_store.engines.interface import Compile, Engine
from model_store.manifest import ModelManifest
from worker.compute.predictor import ChooseTile
from worker.host.hardware import granted_cores, machine_kind

#: `Coordination.decide`: of all answers to a question, the first.
Decide = Callable[[str, bytes], bytes]

#: The clock and the processor time, in seconds.
Stopwatch = Callable[[], tuple[float, float]]

#: What is tried, from small to large.
TILES = (16, 32, 64, 256, 1024, 4096)
#: Where it begins, unless a call of so many takes longer than `_LONG_S`: then with the smallest.
_FIRST = 64
_LONG_S = 0.001
#: What lies around a call in a worker whose other threads want the interpreter too: what more and
#: smaller calls took longer than their computing, from store to store.
_AROUND_S = 0.00005
#: Of so many items that come together, half a tile is padding.
_TOGETHER = 4096
#: Calls that are longer keep the rows of others waiting.
_LONGEST_S = 0.05
#: Each of two tiles in turn, the best of so many times so long.
_TRIES = 4
_TRY_S = 0.004


class Trial(Record):
    """What an item took with so many rows a call."""

    tile_items: int = Field(ge=1)
    item_us: float = Field(ge=0)


class Calibration(Record):
    """`calibrations/<artifact>/<engine and machine>.json`: never changed once written."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tile_items: int = Field(ge=1, le=MAX_BATCH_SIZE)
    engine: str
    machine: str
    trials: list[Trial]
    created_at: AwareDatetime

    @property
    def summary(self) -> str:
        """What was tried: `64: 5.1 us, 256: 4.3 us an item`."""
        tried = ", ".join(f"{t.tile_items}: {t.item_us:.3g} us" for t in self.trials)
        return f"{tried} an item" if tried else "a call is slow with any"


class Calibrations:
    """The tiles of models on this engine and kind of machine.

    Bytes may depend on the tile. So that they are the same whoever computes, it is tried out by
    the first worker of a kind that loads the model, and what that one writes down holds for all.

    Args:
        objects: Where they are kept.
        decide: Where the store ignores conditions: `Coordination.decide`, for two that are first.
        engine: As outcomes name it.
        machine: From `machine_kind`.
        stopwatch: Seconds by the clock, and seconds of this process's processor time.
    """

    def __init__(
        self,
        *,
        objects: ObjectStore,
        decide: Decide,
        engine: str,
        machine: str,
        events: Events = SILENT,
        stopwatch: Stopwatch = lambda: (time.perf_counter(), time.process_time()),
    ) -> None:
        self._objects = objects
        self._decide = decide
        self._engine = engine
        self._machine = machine
        self._events = events
        self._stopwatch = stopwatch

    def tile_items(self, manifest: ModelManifest, compile_for: Compile) -> int:
        """The rows of the model's predict calls; tried out if nobody has yet, which takes a while.

        Raises:
            MessageError: What is kept is no calibration.
            StoreError: The store cannot be reached.
        """
        found = self.find(manifest)
        if found is None:
            began_s = time.monotonic()
            found = self._keep(manifest, self.measure(manifest, compile_for))
            self._events.tell(
                ModelCalibrated(
                    model=manifest.pin,
                    tile_items=found.tile_items,
                    measured=found.summary,
                    duration_s=time.monotonic() - began_s,
                )
            )
        return found.tile_items

    def find(self, manifest: ModelManifest) -> Calibration | None:
        """What is kept for the model here, if anything is."""
        key = self._key(manifest)
        try:
            data = self._objects.get(key).data
        except ObjectNotFoundError:
            return None
        return Calibration.from_json(data, where=key)

    def measure(self, manifest: ModelManifest, compile_for: Compile) -> Calibration:
        """What comes out here and now; nothing is kept."""
        bench = _Bench(manifest, compile_for, stopwatch=self._stopwatch)
        return Calibration(
            tile_items=bench.best(),
            engine=self._engine,
            machine=self._machine,
            trials=bench.trials(),
            created_at=now(),
        )

    def _keep(self, manifest: ModelManifest, calibration: Calibration) -> Calibration:
        """Write it down, unless another did first; return the one that holds."""
        key, data = self._key(manifest), calibration.to_json()
        if not self._objects.conditional_writes:
            data = self._decide(f"calibration {key}", data)
        if self._objects.put_if_absent(key, data):
            return Calibration.from_json(data, where=key)
        return self.find(manifest) or calibration

    def _key(self, manifest: ModelManifest) -> str:
        return keys.model_calibration(manifest.digest, f"{self._engine} on {self._machine}")


def tile_chooser(
    settings: Settings,
    *,
    objects: ObjectStore,
    decide: Decide,
    engine: Engine,
    events: Events = SILENT,
) -> ChooseTile:
    """Rows of every call as the settings say, or else as calibrated on this machine."""
    fixed = settings.max_batch_size
    if fixed is not None:
        return lambda _manifest, _compile_for: fixed
    kept = calibrations(objects=objects, decide=decide, engine=engine, events=events)
    return kept.tile_items


def calibrations(
    *, objects: ObjectStore, decide: Decide, engine: Engine, events: Events = SILENT
) -> Calibrations:
    """Those of this machine."""
    return Calibrations(
        objects=objects,
        decide=decide,
        engine=engine.name,
        # Not the process's own share of the cores: however many there are, bytes are the same.
        machine=machine_kind(cores=granted_cores()),
        events=events,
    )


class _Bench:
    """Tries a model with tiles of several sizes."""

    def __init__(
        self,
        manifest: ModelManifest,
        compile_for: Compile,
        *,
        stopwatch: Stopwatch,
    ) -> None:
        self._compile_for = compile_for
        self._item_shape: Sequence[int] = manifest.item_shape
        self._item_dtype = manifest.item_dtype
        self._stopwatch = stopwatch
        self._calls: dict[int, Callable[[], object]] = {}
        #: What a call keeps a core busy, by tile.
        self._busy_s: dict[int, float] = {}

    def best(self) -> int:
        """The tile up to which each larger one makes an item cheaper."""
        is_slow = self._call_s(_FIRST) > _LONG_S
        tile = TILES[0] if is_slow else _FIRST
        for larger in (t for t in TILES if t > tile):
            too_long = self._call_s(tile) * larger / tile > _LONGEST_S
            if too_long or not self._promises(larger):
                break
            self._try(tile, larger)
            if _item_s(larger, self._busy_s[larger]) >= _item_s(tile, self._busy_s[tile]):
                break
            tile = larger
        return tile

    def trials(self) -> list[Trial]:
        """All that was tried."""
        return [
            Trial(tile_items=tile, item_us=round(1e6 * _item_s(tile, busy_s), 3))
            for tile, busy_s in sorted(self._busy_s.items())
        ]

    def _promises(self, larger: int) -> bool:
        """Whether it would be cheaper if a call went on to grow as between the last two tiles."""
        if not self._busy_s:
            return True
        (t1, busy1_s), (t2, busy2_s) = sorted(self._busy_s.items())[-2:]
        busy_s = busy2_s + (larger - t2) * (busy2_s - busy1_s) / (t2 - t1)
        return _item_s(larger, busy_s) < _item_s(t2, busy2_s)

    def _try(self, *tiles: int) -> None:
        """Time the tiles in turn: what disturbs one disturbs the other as well."""
        tried: dict[int, list[float]] = {tile: [] for tile in tiles}
        for _ in range(_TRIES):
            for tile in tiles:
                tried[tile].append(self._one_try_s(tile))
        self._busy_s |= {tile: min(busy_s) for tile, busy_s in tried.items()}

    def _one_try_s(self, tile: int) -> float:
        """What a call keeps a core busy.

        By processor time, which other processes hardly change; but where that is less than half
        of the time, a GPU computes, and the clock tells more.
        """
        call = self._call(tile)
        shortest_s, spent_s, cpu_s, calls = math.inf, 0.0, 0.0, 0
        while spent_s < _TRY_S:
            call_s, call_cpu_s = self._timed(call)
            shortest_s = min(shortest_s, call_s)
            spent_s, cpu_s, calls = spent_s + call_s, cpu_s + call_cpu_s, calls + 1
        return max(cpu_s / calls, shortest_s / 2)

    def _call_s(self, tile: int) -> float:
        """What one call takes, warm."""
        return min(self._timed(self._call(tile))[0] for _ in range(2))

    def _timed(self, call: Callable[[], object]) -> tuple[float, float]:
        began = self._stopwatch()
        call()
        ended = self._stopwatch()
        return ended[0] - began[0], ended[1] - began[1]

    def _call(self, tile: int) -> Callable[[], object]:
        if tile not in self._calls:
            predict = self._compile_for(tile)
            rows: Array = np.zeros((tile, *self._item_shape), self._item_dtype)
            predict(rows)
            self._calls[tile] = lambda: predict(rows)
        return self._calls[tile]


def _item_s(tile: int, busy_s: float) -> float:
    """What an item costs where a call keeps the cores busy for so long; padding is its share."""
    return (_AROUND_S + busy_s) / tile * (1 + tile / 2 / _TOGETHER)
