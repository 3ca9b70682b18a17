"""The first load of a model on this machine: behind the wall, unless a verdict says it passed."""

import time
from pathlib import Path

from fornada.errors import LocalDiskError, MessageError, ModelRefusedError, ModelWallError
from fornada.files.private_folder import is_private_file, open_private
from fornada.logs import get_logger
from fornada.records import ObjectRef, Record, Sha256
from fornada.settings import Settings
from model_store.engines.catalog import find_engine
from model_store.manifest import ModelManifest
from model_store.safety.artifact_check import MAX_ARTIFACT_BYTES
from model_store.scratch import scratch_folder
from model_store.store import ModelStore
from model_store.wall.limits import WallLimits
from model_store.wall.messages import Check
from model_store.wall.verdict import subject_of
from worker.compute.artifact_cache import ArtifactCache

log = get_logger(__name__)

#: How long no process of this machine tries a model again that the wall could not load.
_BROKEN_FOR_S = 600.0
#: A shard waits for the wall, and then for its own load; longer than its deadline would end the
#: process.
_SHARE_OF_DEADLINE = 0.5


class _Found(Record):
    """What the wall found on this machine."""

    subject: Sha256
    #: Unix time.
    at_s: float
    #: Why it could not load the model; absent if it could.
    why: str | None = None


class FirstLoads:
    """Loads models behind the wall first, once a machine.

    Args:
        settings: The engine, and how long a shard may take.
        models: The store, and the verdicts to believe.
        disk: Where this machine keeps what it found.
    """

    def __init__(self, settings: Settings, *, models: ModelStore, disk: ArtifactCache) -> None:
        self._engine = settings.engine
        self._most_s = _SHARE_OF_DEADLINE * settings.shard_deadline_s
        self._models = models
        self._disk = disk

    def check(self, manifest: ModelManifest, artifact: Path) -> None:
        """Return once a model may be loaded in this process.

        Raises:
            ModelRefusedError: It is unsafe, or does not reproduce its golden batch.
            ModelWallError: It takes more time or memory than it may, or ends the process.
            StoreError: The store cannot be reached.
            LocalDiskError: The cache cannot be written.
        """
        if find_engine(self._engine).loads_only_data:
            return
        subject = subject_of(manifest)
        path = self._disk.path("verdicts", f"{subject}.json")
        if self._has_passed(path, subject) or self._models.verdicts.find(manifest) is not None:
            return
        with self._disk.locked(f"verdict-{subject}"):
            # Another process may have loaded it meanwhile.
            if not self._has_passed(path, subject):
                self._try(manifest, artifact, path, subject)

    def _has_passed(self, path: Path, subject: str) -> bool:
        """Whether it passed here.

        Raises:
            ModelWallError: It could not be loaded a short while ago.
        """
        try:
            if not is_private_file(path):
                return False
            found = _Found.from_json(path.read_bytes(), where=str(path))
        except (OSError, MessageError):
            return False
        if found.subject != subject:
            return False
        if found.why is not None and 0 <= time.time() - found.at_s < _BROKEN_FOR_S:
            raise ModelWallError(found.why)
        return found.why is None

    def _try(self, manifest: ModelManifest, artifact: Path, path: Path, subject: str) -> None:
        began_s = time.monotonic()
        try:
            self._load(manifest, artifact)
        except ModelWallError as exc:
            why = f"{exc}; its jobs go back to the queue, for workers that have more"
            self._keep(path, _Found(subject=subject, at_s=time.time(), why=why))
            raise ModelWallError(why) from exc
        self._keep(path, _Found(subject=subject, at_s=time.time()))
        log.info(
            "model passed the wall", model=str(manifest), duration_s=time.monotonic() - began_s
        )

    def _load(self, manifest: ModelManifest, artifact: Path) -> None:
        limits = WallLimits.of_artifact(artifact.stat().st_size, most_s=self._most_s)
        with scratch_folder() as folder:
            request = Check(
                artifact=str(artifact.absolute()),
                where=f"model {manifest}",
                allowed_objects=sorted(self._models.trust.allowed_objects),
                engine=self._engine,
                inputs=manifest.inputs,
                outputs=manifest.outputs,
                golden_inputs=self._fetched(manifest.golden.inputs, folder / "inputs"),
                golden_outputs=self._fetched(manifest.golden.outputs, folder / "outputs"),
            )
            with self._models.open_wall(limits) as wall:
                wall.check(request)

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
                f"{path} cannot be written ({exc.strerror}); free space there or set "
                "FORNADA_CACHE_DIR to another disk"
            ) from exc
