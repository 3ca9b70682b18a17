"""Choose the rows of a model's predict calls, once per kind of machine: measured, or estimated."""

import time
from collections.abc import Callable
from functools import partial
from typing import Literal

from pydantic import AwareDatetime, Field

from fornada import keys
from fornada.errors import (
    LaterVersionError,
    MessageError,
    ModelDeclinedError,
    ObjectNotFoundError,
)
from fornada.events import SILENT, Events, ModelCalibrated
from fornada.logs import get_logger
from fornada.records import SCHEMA_VERSION, Record, now, sha256_hex
from fornada.settings import MAX_BATCH_SIZE, Settings
from fornada.storage.interface import ObjectStore
from model_store.engines.artifact.work import TILES, Work
from model_store.engines.interface import Compile, Engine
from model_store.manifest import ModelManifest
from worker.compute.predictor import ChooseTile
from worker.compute.tile_bench import Stopwatch, TileBench, Trial
from worker.host.hardware import granted_cores, machine_kind

log = get_logger(__name__)

#: `decide` of the coordination: returns the first answer that anyone gave to a question.
Decide = Callable[[str, bytes], bytes]

#: The most numbers, in bytes, that a layer makes in a call.
_MOST_OUTPUT_BYTES = 256 * 2**20
#: How far a kept tile may be from the estimate, which differs from release to release.
_FACTOR = 4
_MOST_BYTES = 64 * 1024
_MOST_TRIALS = 32


class Calibration(Record):
    """`calibrations/<artifact>/<engine and machine>.json`, which is written once."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tile_items: int = Field(ge=1, le=MAX_BATCH_SIZE)
    engine: str
    machine: str
    trials: list[Trial] = Field(max_length=_MOST_TRIALS)
    created_at: AwareDatetime

    def is_possible(self, work: Work, *, engine: str, machine: str) -> bool:
        """Whether this can be the calibration of such a model on this engine and machine."""
        if work.is_light:
            tiles = range(TILES[0] // _FACTOR, _most_measured(work) + 1)
        else:
            tiles = range(work.call_items // _FACTOR, work.call_items * _FACTOR + 1)
        return self.tile_items in tiles and (self.engine, self.machine) == (engine, machine)

    @property
    def summary(self) -> str:
        """What was measured: `64: 5.1 us, 256: 4.3 us an item`."""
        costs = ", ".join(f"{t.tile_items}: {t.item_us:.3g} us" for t in self.trials)
        return f"{costs} an item" if costs else "estimated from its layers"


class Calibrations:
    """The tiles of models on this engine and kind of machine.

    Bytes may depend on the tile. So that all workers of a kind give the same bytes, the first of
    them to load the model measures, and the tile that it stores holds for all. Where measuring
    would keep the first result waiting, the tile follows from the model's layers.

    Args:
        objects: The store.
        decide: Settles which calibration is first, for stores without conditional writes.
        engine: The engine's name, as in outcomes.
        machine: From `machine_kind`.
        events: Hears of new calibrations.
        stopwatch: The clock, and the processor time of the process.
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

    def tile_items(
        self,
        manifest: ModelManifest,
        compile_for: Compile,
        work: Work,
        *,
        most_items: int | None = None,
    ) -> int:
        """The rows of the model's predict calls; chooses them if no worker has.

        Args:
            manifest: The model.
            compile_for: Compiles its calls.
            work: What they cost.
            most_items: The most rows of a call that may be made here; `None`: any number.

        Raises:
            LaterVersionError: The stored calibration is one that only later releases read.
            ModelDeclinedError: It has more rows.
            StoreError: The store cannot be reached.
        """
        found = self.find(manifest, work)
        if found is None:
            began_s = time.monotonic()
            found = self._keep(manifest, self.choose(manifest, compile_for, work, most_items), work)
            self._events.tell(
                ModelCalibrated(
                    model=manifest.pin,
                    tile_items=found.tile_items,
                    measured=found.summary,
                    duration_s=time.monotonic() - began_s,
                )
            )
        if most_items is not None and found.tile_items > most_items:
            # Another worker chose meanwhile; the next try begins with its choice.
            raise ModelDeclinedError(
                f"{manifest} is called with {found.tile_items} rows, and {most_items} were tried "
                "here; it is tried again shortly"
            )
        return found.tile_items

    def find(self, manifest: ModelManifest, work: Work | None = None) -> Calibration | None:
        """The stored calibration of the model, if there is one that can be its own.

        Args:
            manifest: The model.
            work: What its calls cost; `None`: before it is loaded.

        Raises:
            LaterVersionError: Only later releases read it.
            StoreError: The store cannot be reached.
        """
        stored = self._stored(manifest)
        return None if stored is None else self._believed(manifest, stored, work)

    def _stored(self, manifest: ModelManifest) -> bytes | None:
        try:
            return self._objects.get(self._key(manifest), max_bytes=_MOST_BYTES).data
        except ObjectNotFoundError:
            return None

    def _believed(
        self, manifest: ModelManifest, data: bytes, work: Work | None
    ) -> Calibration | None:
        """The calibration in `data`. Who can write there could have workers end for memory."""
        key = self._key(manifest)
        try:
            found = Calibration.from_json(data, where=key)
        except LaterVersionError:
            raise
        except MessageError as exc:
            log.warning("calibration not believed", model=str(manifest), why=str(exc))
            return None
        if work is None or found.is_possible(work, engine=self._engine, machine=self._machine):
            return found
        why = f"{key} has {found.tile_items} rows a call, on {found.engine}, {found.machine}"
        log.warning("calibration not believed", model=str(manifest), why=why)
        return None

    def choose(
        self,
        manifest: ModelManifest,
        compile_for: Compile,
        work: Work,
        most_items: int | None = None,
    ) -> Calibration:
        """Measure the model if it is light; store nothing. Arguments as of `tile_items`."""
        most_items = min(most_items or MAX_BATCH_SIZE, _most_measured(work))
        tile_items, trials = min(work.call_items, most_items), list[Trial]()
        tiles = [tile for tile in TILES if tile <= most_items]
        if work.is_light and tiles:
            bench = TileBench(manifest, compile_for, tiles=tiles, stopwatch=self._stopwatch)
            tile_items, trials = bench.best(), bench.trials()
        return Calibration(
            tile_items=tile_items,
            engine=self._engine,
            machine=self._machine,
            trials=trials,
            created_at=now(),
        )

    def _keep(self, manifest: ModelManifest, calibration: Calibration, work: Work) -> Calibration:
        """Store it unless another worker was first; return the one that holds."""
        key, data = self._key(manifest), calibration.to_json()
        instead_of = self._stored(manifest)
        if instead_of is not None and self._believed(manifest, instead_of, work) is None:
            # Of the workers that do not believe it, one measures for all.
            data = self._decide(f"calibration {key} for {sha256_hex(instead_of)}", data)
            calibration = self._believed(manifest, data, work) or calibration
            self._objects.put(key, calibration.to_json())
            return calibration
        if not self._objects.conditional_writes:
            data = self._decide(f"calibration {key}", data)
            calibration = self._believed(manifest, data, work) or calibration
        if self._objects.put_if_absent(key, calibration.to_json()):
            return calibration
        return self.find(manifest, work) or calibration

    def _key(self, manifest: ModelManifest) -> str:
        return keys.model_calibration(manifest.digest, f"{self._engine} on {self._machine}")


class TileChoice:
    """The rows that the settings give, or else those calibrated on this machine.

    Args:
        settings: `max_batch_size`.
        kept: From `calibrations`.
    """

    def __init__(self, settings: Settings, *, kept: Calibrations) -> None:
        self._fixed_items = settings.max_batch_size
        self._kept = kept

    def known_items(self, manifest: ModelManifest) -> int | None:
        """The rows of the model's calls, if they do not have to be chosen.

        Raises:
            MessageError, StoreError: As `Calibrations.tile_items`.
        """
        if self._fixed_items is not None:
            return self._fixed_items
        found = self._kept.find(manifest)
        return None if found is None else found.tile_items

    def chooser(self, most_items: int | None) -> ChooseTile:
        """Return what chooses a tile of at most `most_items` rows; `None` sets no limit."""
        fixed_items = self._fixed_items
        if fixed_items is not None:
            return lambda _manifest, _compile_for, _work: fixed_items
        return partial(self._kept.tile_items, most_items=most_items)


def calibrations(
    *, objects: ObjectStore, decide: Decide, engine: Engine, events: Events = SILENT
) -> Calibrations:
    """The calibrations of this machine."""
    return Calibrations(
        objects=objects,
        decide=decide,
        engine=engine.name,
        # All of the machine's cores: bytes must not depend on how many processes share them.
        machine=machine_kind(cores=granted_cores()),
        events=events,
    )


def _most_measured(work: Work) -> int:
    """The largest candidate for a light model: its call has to fit in memory."""
    fitting = _MOST_OUTPUT_BYTES // max(1, work.output_bytes)
    return max((tile for tile in TILES if tile <= fitting), default=TILES[0])
