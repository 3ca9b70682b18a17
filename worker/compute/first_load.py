"""The first load of a model on this machine: behind the wall, unless a verdict says it passed."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fornada.errors import LocalDiskError, MessageError, ModelRefusedError, ModelWallError
from fornada.files.private_folder import is_private_file, open_private
from fornada.files.refusals import what_helps
from fornada.logs import get_logger
from fornada.records import ObjectRef, Record, Sha256
from fornada.settings import Settings
from model_store.engines.catalog import find_engine
from model_store.manifest import ModelManifest
from model_store.safety.artifact_check import MAX_ARTIFACT_BYTES
from model_store.scratch import scratch_folder
from model_store.store import ModelStore
from model_store.wall.limits import WallLimits
from model_store.wall.messages import CallCost, Check, Passed
from model_store.wall.verdict import subject_of
from worker.compute.artifact_cache import ArtifactCache
from worker.host.hardware import granted_cores, granted_memory_bytes, visible_gpus

log = get_logger(__name__)

#: How long no process of this machine tries a model again that the wall could not load.
_BROKEN_FOR_S = 600.0
#: A shard waits for the wall, and then for its own load; longer than its deadline would end the
#: process.
_SHARE_OF_DEADLINE = 0.5
_GIVEN_BACK = "its jobs go back to the queue, for workers that have more"


class _Found(Record):
    """What the wall found on this machine."""

    subject: Sha256
    #: Unix time.
    at_s: float
    #: As `Passed.calls`; empty if it could not load the model.
    calls: list[CallCost]
    #: Why it could not; absent if it could.
    why: str | None = None


class FirstLoads:
    """Loads models behind the wall first, once a machine.

    Args:
        settings: The engine, and how long a shard may take.
        models: The store, and the verdicts to believe.
        disk: Where this machine keeps what it found.
        known_items: Rows of a model's calls, if they need not be chosen.
        call_bytes: As `call_bytes_here`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        models: ModelStore,
        disk: ArtifactCache,
        known_items: Callable[[ModelManifest], int | None],
        call_bytes: Callable[[str], int | None] | None = None,
    ) -> None:
        self._engine = settings.engine
        self._most_s = _SHARE_OF_DEADLINE * settings.shard_deadline_s
        self._models = models
        self._disk = disk
        self._known_items = known_items
        self._call_bytes = (call_bytes or call_bytes_here)(settings.engine)

    def check(self, manifest: ModelManifest, artifact: Path) -> int | None:
        """Return once a model may be loaded in this process.

        Returns:
            The most rows of its calls; `None`: any number.

        Raises:
            ModelRefusedError: It is unsafe, or does not reproduce its golden batch.
            ModelWallError: It takes more time or memory than it may, or ends the process.
            StoreError: The store cannot be reached.
            LocalDiskError: The cache cannot be written.
        """
        if find_engine(self._engine).loads_only_data:
            return None
        # An open side decides by itself how many rows a call has. Calls of a GPU take its memory,
        # of which the wall, that makes them on a core, knows nothing.
        is_open = any(tensor.is_open for tensor in manifest.inputs)
        is_tried = not is_open and self._call_bytes is not None
        wanted = self._known_items(manifest) if is_tried else None
        verdict = self._models.verdicts.find(manifest)
        calls = [] if verdict is None else verdict.calls
        if not calls or (wanted or 0) > calls[-1].tile_items:
            calls = self._calls_here(manifest, artifact, wanted)
        if self._call_bytes is None:
            return None
        return self._most_items(manifest, calls, wanted, self._call_bytes)

    def _most_items(
        self,
        manifest: ModelManifest,
        calls: Sequence[CallCost],
        wanted: int | None,
        most_bytes: int,
    ) -> int:
        """The most rows of a call that is no larger and no longer than it may be here."""
        allowed = [
            call.tile_items
            for call in calls
            if call.peak_bytes <= most_bytes and call.duration_s <= self._most_s
        ]
        if allowed and max(allowed) >= (wanted or 0):
            return max(allowed)
        call = next((c for c in calls if c.tile_items >= (wanted or 0)), calls[-1])
        raise ModelWallError(
            f"model {manifest} takes {call.peak_bytes / 2**30:.1f} GiB and {call.duration_s:.0f} s "
            f"for a call of {call.tile_items} items, and may take {most_bytes / 2**30:.1f} "
            f"GiB and {self._most_s:.0f} s here; {_GIVEN_BACK}"
        )

    def _calls_here(
        self, manifest: ModelManifest, artifact: Path, wanted: int | None
    ) -> list[CallCost]:
        subject = subject_of(manifest)
        for items in dict.fromkeys((None, wanted)):
            name = f"{subject}-{self._engine}-{items or 'any'}"
            path = self._disk.path("verdicts", f"{name}.json")
            calls = self._kept(path, subject)
            if calls and calls[-1].tile_items >= (wanted or 0):
                return calls
        with self._disk.locked(f"verdict-{name}"):
            # Another process may have loaded it meanwhile.
            return self._kept(path, subject) or self._try(manifest, artifact, path, wanted)

    def _kept(self, path: Path, subject: str) -> list[CallCost] | None:
        """What its calls took here; `None` if that is not known.

        Raises:
            ModelWallError: It could not be loaded a short while ago.
        """
        try:
            if not is_private_file(path):
                return None
            found = _Found.from_json(path.read_bytes(), where=str(path))
        except (OSError, MessageError):
            return None
        if found.subject != subject:
            return None
        if found.why is not None and 0 <= time.time() - found.at_s < _BROKEN_FOR_S:
            raise ModelWallError(found.why)
        return found.calls or None

    def _try(
        self, manifest: ModelManifest, artifact: Path, path: Path, wanted: int | None
    ) -> list[CallCost]:
        began_s, subject = time.monotonic(), subject_of(manifest)
        try:
            passed = self._load(manifest, artifact, wanted)
        except ModelWallError as exc:
            why = f"{exc}; {_GIVEN_BACK}"
            self._keep(path, _Found(subject=subject, at_s=time.time(), calls=[], why=why))
            raise ModelWallError(why) from exc
        self._keep(path, _Found(subject=subject, at_s=time.time(), calls=passed.calls))
        log.info(
            "model passed the wall", model=str(manifest), duration_s=time.monotonic() - began_s
        )
        return passed.calls

    def _load(self, manifest: ModelManifest, artifact: Path, wanted: int | None) -> Passed:
        limits = WallLimits.of_artifact(
            artifact.stat().st_size,
            call_bytes=self._call_bytes or 0 if wanted else 0,
            most_s=self._most_s,
        )
        called = "" if wanted is None else f" in calls of {wanted} items"
        with scratch_folder() as folder:
            request = Check(
                artifact=str(artifact.absolute()),
                where=f"model {manifest}{called}",
                allowed_objects=sorted(self._models.trust.allowed_objects),
                engine=self._engine,
                inputs=manifest.inputs,
                outputs=manifest.outputs,
                golden_inputs=self._fetched(manifest.golden.inputs, folder / "inputs"),
                golden_outputs=self._fetched(manifest.golden.outputs, folder / "outputs"),
                golden_framework=manifest.golden_framework,
                tile_items=wanted,
            )
            with self._models.open_wall(limits) as wall:
                return wall.check(request)

    def _fetched(self, golden: ObjectRef, path: Path) -> str:
        if golden.size_bytes > MAX_ARTIFACT_BYTES:
            raise ModelRefusedError(
                f"{golden.key} has {golden.size_bytes} bytes, over {MAX_ARTIFACT_BYTES}; publish "
                "the model again with fewer golden items"
            )
        self._models.download(golden, path)
        return str(path)

    def _keep(self, path: Path, found: _Found) -> None:
        try:
            with open_private(path) as file:
                file.write(found.to_json())
        except OSError as exc:
            raise LocalDiskError(
                f"{path} cannot be written ({exc.strerror}); {what_helps(exc)}, or set "
                "FORNADA_CACHE_DIR to another disk"
            ) from exc


def call_bytes_here(engine: str) -> int | None:
    """The most memory that a call may take: an equal part of half of the memory for each core.

    All cores may be in a call, whatever processes there are; the models take the other half.
    `None`: calls are made on a GPU.
    """
    if find_engine(engine).uses_gpus() and visible_gpus(os.environ):
        return None
    return granted_memory_bytes() // (2 * granted_cores())
