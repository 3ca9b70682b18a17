"""The rows of a model's predict calls: from its layers, and the same for all workers of a kind."""

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
from fornada.logs import get_logger
from fornada.records import SCHEMA_VERSION, Record, now, sha256_hex
from fornada.settings import MAX_BATCH_SIZE, Settings
from fornada.storage.interface import ObjectStore
from model_store.engines.artifact.work import Work
from model_store.engines.interface import Engine
from model_store.manifest import ModelManifest
from worker.compute.predictor import ChooseTile
from worker.host.hardware import granted_cores, machine_kind

log = get_logger(__name__)

#: `decide` of the coordination: returns the first answer that anyone gave to a question.
Decide = Callable[[str, bytes], bytes]

#: The most numbers, in bytes, that a layer of a light model makes in a call that was measured.
_MOST_OUTPUT_BYTES = 256 * 2**20
#: Rows of a light model's calls, as measured, and where memory is short.
_LEAST_ITEMS, _MOST_ITEMS = 4, 4096
#: How far a kept tile may be from the estimate, which differs from release to release.
_FACTOR = 4
_MOST_BYTES = 64 * 1024
_MOST_TRIALS = 32


class Trial(Record):
    """The cost of an item at one number of rows per call."""

    tile_items: int = Field(ge=1)
    item_us: float = Field(ge=0)


class Calibration(Record):
    """`calibrations/<artifact>/<engine and machine>.json`, which is written once."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tile_items: int = Field(ge=1, le=MAX_BATCH_SIZE)
    engine: str
    machine: str
    #: What earlier releases measured; none since.
    trials: list[Trial] = Field(default_factory=list, max_length=_MOST_TRIALS)
    created_at: AwareDatetime

    def is_possible(self, work: Work, *, engine: str, machine: str) -> bool:
        """Whether this can be the calibration of such a model on this engine and machine."""
        least_items, most_items = work.call_items // _FACTOR, work.call_items * _FACTOR
        if work.is_light:
            fitting = _MOST_OUTPUT_BYTES // max(1, work.output_bytes)
            least_items = min(least_items, _LEAST_ITEMS)
            most_items = max(most_items, min(_MOST_ITEMS, fitting))
        tiles = range(least_items, most_items + 1)
        return self.tile_items in tiles and (self.engine, self.machine) == (engine, machine)


class Calibrations:
    """The tiles of models on this engine and kind of machine.

    Bytes may depend on the tile. So that all workers of a kind give the same bytes, whatever their
    release or memory, the tile of the first of them to load the model is stored, and holds for all.
    It follows from the model's layers: a first result does not wait for measuring.

    Args:
        objects: The store.
        decide: Settles which calibration is first, for stores without conditional writes.
        engine: The engine's name, as in outcomes.
        machine: From `machine_kind`.
    """

    def __init__(
        self,
        *,
        objects: ObjectStore,
        decide: Decide,
        engine: str,
        machine: str,
    ) -> None:
        self._objects = objects
        self._decide = decide
        self._engine = engine
        self._machine = machine

    def tile_items(
        self, manifest: ModelManifest, work: Work, *, most_items: int | None = None
    ) -> int:
        """The rows of the model's predict calls; chooses them if no worker has.

        Args:
            manifest: The model.
            work: What its calls cost.
            most_items: The most rows of a call that may be made here; `None`: any number.

        Raises:
            LaterVersionError: The stored calibration is one that only later releases read.
            ModelDeclinedError: It has more rows.
            StoreError: The store cannot be reached.
        """
        found = self.find(manifest, work)
        if found is None:
            found = self._keep(manifest, self.choose(work, most_items), work)
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

    def choose(self, work: Work, most_items: int | None = None) -> Calibration:
        """What follows from the layers; stores nothing. Arguments as of `tile_items`."""
        return Calibration(
            tile_items=min(work.call_items, most_items or work.call_items),
            engine=self._engine,
            machine=self._machine,
            created_at=now(),
        )

    def _keep(self, manifest: ModelManifest, calibration: Calibration, work: Work) -> Calibration:
        """Store it unless another worker was first; return the one that holds."""
        key, data = self._key(manifest), calibration.to_json()
        instead_of = self._stored(manifest)
        if instead_of is not None and self._believed(manifest, instead_of, work) is None:
            # Of the workers that do not believe it, one chooses for all.
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
            return lambda _manifest, _work: fixed_items
        return partial(self._kept.tile_items, most_items=most_items)


def calibrations(*, objects: ObjectStore, decide: Decide, engine: Engine) -> Calibrations:
    """The calibrations of this machine."""
    return Calibrations(
        objects=objects,
        decide=decide,
        engine=engine.name,
        # All of the machine's cores: bytes must not depend on how many processes share them.
        machine=machine_kind(cores=granted_cores()),
    )
