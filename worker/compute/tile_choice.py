"""The rows of a model's predict calls: from its layers, and the same for all workers of a kind."""

from collections.abc import Callable
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
from worker.host.hardware import granted_cores, machine_kind

log = get_logger(__name__)

#: `decide` of the coordination: returns the first answer that anyone gave to a question.
Decide = Callable[[str, bytes], bytes]

#: How far a kept tile may be from what follows from the layers: other releases estimate or measure
#: otherwise, and who can write there could have workers run out of memory.
_FACTOR = 16
_MOST_BYTES = 64 * 1024


class Calibration(Record):
    """`calibrations/<artifact>/<engine and machine>.json`, which is written once."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tile_items: int = Field(ge=1, le=MAX_BATCH_SIZE)
    engine: str
    machine: str
    #: What earlier releases measured; none since.
    trials: list[dict[str, float]] = Field(default_factory=list, max_length=32)
    created_at: AwareDatetime


class TileChoice:
    """Chooses the rows of models' calls: those of the settings, or else what the layers ask for.

    Bytes may depend on the rows. So that all workers of a kind give the same bytes, whatever their
    release or memory, what the first of them to load the model chose is stored, and holds for all.

    Args:
        settings: `max_batch_size`.
        objects: The store.
        decide: Settles which choice is first, for stores without conditional writes.
        engine: Computes the calls.
        machine: From `machine_kind`; by default this one, with all of its cores: bytes must not
            depend on how many processes share them.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        objects: ObjectStore,
        decide: Decide,
        engine: Engine,
        machine: str | None = None,
    ) -> None:
        self._fixed_items = settings.max_batch_size
        self._objects = objects
        self._decide = decide
        self._engine = engine
        self._machine = machine or machine_kind(cores=granted_cores())

    def known_items(self, manifest: ModelManifest) -> int | None:
        """The rows of the model's calls, if they do not have to be chosen.

        Raises:
            LaterVersionError: The stored choice is one that only later releases read.
            StoreError: The store cannot be reached.
        """
        return self._fixed_items or self._believed(manifest, self._stored(manifest), None)

    def choose(
        self,
        manifest: ModelManifest,
        work: Work,
        *,
        most_items: int | None = None,
        keep: bool = True,
    ) -> int:
        """The rows of the model's calls.

        Args:
            manifest: The model.
            work: What its calls cost.
            most_items: The most rows of a call that may be made here; `None`: any number.
            keep: Whether a choice made here holds for all workers of the kind.

        Raises:
            ModelDeclinedError: Its calls have more rows.
            LaterVersionError, StoreError: As `known_items`.
        """
        if self._fixed_items is not None:
            return self._fixed_items
        most_items = most_items or MAX_BATCH_SIZE
        stored = self._stored(manifest)
        items = self._believed(manifest, stored, work)
        if items is None:
            items = min(self._wanted_items(work), most_items)
            if keep:
                items = self._kept(manifest, work, items, instead_of=stored)
        if items > most_items:
            # Another worker chose meanwhile; the next try begins with its choice.
            raise ModelDeclinedError(
                f"{manifest} is called with {items} rows, and {most_items} were tried here; it is "
                "tried again shortly"
            )
        return items

    def _wanted_items(self, work: Work) -> int:
        call_bytes = self._engine.call_bytes
        return work.call_items if call_bytes is None else work.items_within(call_bytes)

    def _stored(self, manifest: ModelManifest) -> bytes | None:
        try:
            return self._objects.get(self._key(manifest), max_bytes=_MOST_BYTES).data
        except ObjectNotFoundError:
            return None

    def _believed(
        self, manifest: ModelManifest, stored: bytes | None, work: Work | None
    ) -> int | None:
        """The rows that `stored` says, if it can be of such a model, engine and machine."""
        if stored is None:
            return None
        key = self._key(manifest)
        try:
            found = Calibration.from_json(stored, where=key)
        except LaterVersionError:
            raise
        except MessageError as exc:
            why = str(exc)
        else:
            if work is None or self._is_possible(found, work):
                return found.tile_items
            why = f"{key} has {found.tile_items} rows a call, on {found.engine}, {found.machine}"
        log.warning("calibration not believed", model=str(manifest), why=why)
        return None

    def _is_possible(self, found: Calibration, work: Work) -> bool:
        wanted, said = self._wanted_items(work), found.tile_items
        of_here = (found.engine, found.machine) == (self._engine.name, self._machine)
        return of_here and wanted <= _FACTOR * said and said <= _FACTOR * wanted

    def _kept(
        self, manifest: ModelManifest, work: Work, items: int, *, instead_of: bytes | None
    ) -> int:
        """Store the choice unless another worker was first; return the one that holds."""
        key, data = self._key(manifest), self._record(items)
        if instead_of is None and self._objects.conditional_writes:
            if self._objects.put_if_absent(key, data):
                return items
            return self._believed(manifest, self._stored(manifest), work) or items
        # Of the workers that do not believe what is there, one chooses for all.
        question = f"calibration {key} for {sha256_hex(instead_of or b'')}"
        items = self._believed(manifest, self._decide(question, data), work) or items
        self._objects.put(key, self._record(items))
        return items

    def _record(self, items: int) -> bytes:
        return Calibration(
            tile_items=items, engine=self._engine.name, machine=self._machine, created_at=now()
        ).to_json()

    def _key(self, manifest: ModelManifest) -> str:
        return keys.model_calibration(manifest.digest, f"{self._engine.name} on {self._machine}")
