"""Models that this process has loaded: each once, by digest, checked and warm."""

import contextlib
import os
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fornada.arrays import sha256_hex
from fornada.errors import (
    InputError,
    IntegrityError,
    LocalDiskError,
    MessageError,
    ModelRefusedError,
    ObjectNotFoundError,
    UsageError,
)
from fornada.logs import get_logger
from fornada.messages import ModelPin
from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from worker.batcher import Batcher
from worker.predictor import PredictorFactory

log = get_logger(__name__)


class LoadedModel:
    """A model ready to predict, with the batcher that owns it."""

    def __init__(self, *, manifest: ModelManifest, engine: str, batcher: Batcher) -> None:
        self.manifest = manifest
        self.engine = engine
        self.batcher = batcher
        self.users = 0


class ModelCache:
    """Loaded models by digest, the least recently used dropped first."""

    def __init__(
        self,
        *,
        models: ModelStore,
        build: PredictorFactory,
        disk: "ArtifactCache",
        max_models: int,
        max_batch_size: int,
        max_latency_s: float,
    ) -> None:
        self._models = models
        self._build = build
        self._disk = disk
        self._max_models = max_models
        self._max_batch_size = max_batch_size
        self._max_latency_s = max_latency_s
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()

    @contextmanager
    def use(self, pin: ModelPin) -> Iterator[LoadedModel]:
        """The model of `pin`, kept in memory until the block is left.

        Raises:
            ModelError: It does not exist, is refused, or is not what the pin says.
            StoreError: The store cannot be reached.
            LocalDiskError: The artifact cannot be written to the cache.
        """
        model = self._acquire(pin)
        try:
            yield model
        finally:
            with self._lock:
                model.users -= 1
            self._drop_unused()

    def close(self) -> None:
        """Drop every model; none is in use any more."""
        with self._lock:
            models, self._loaded = list(self._loaded.values()), OrderedDict()
        for model in models:
            model.batcher.close()

    def _acquire(self, pin: ModelPin) -> LoadedModel:
        with self._lock:
            loading = self._loading.setdefault(pin.sha256, threading.Lock())
        # Threads that need the same model wait for the one that loads it.
        with loading:
            # Found and counted as in use in one step: in between, it could be dropped.
            with self._lock:
                model = self._loaded.get(pin.sha256)
                if model is not None:
                    self._loaded.move_to_end(pin.sha256)
                    model.users += 1
                    return model
            model = self._load(pin)
            with self._lock:
                self._loaded[pin.sha256] = model
                model.users += 1
            return model

    def _load(self, pin: ModelPin) -> LoadedModel:
        began = time.monotonic()
        try:
            manifest = self._models.pinned(pin)
            artifact = self._disk.get(manifest.digest) or self._download(manifest)
            predictor = self._build(manifest, artifact, self._max_batch_size)
        except (ObjectNotFoundError, IntegrityError, MessageError, InputError, UsageError) as exc:
            # Left as they are, these would be taken for faults of the shard.
            raise ModelRefusedError(str(exc)) from exc
        batcher = Batcher(
            predictor.predict_tile,
            tile_items=self._max_batch_size,
            item_shape=manifest.item_shape,
            item_dtype=manifest.item_dtype,
            max_latency_s=self._max_latency_s,
        )
        log.info(
            "model loaded",
            model=str(manifest),
            sha256=manifest.digest[:12],
            engine=predictor.engine,
            duration_s=round(time.monotonic() - began, 3),
        )
        return LoadedModel(manifest=manifest, engine=predictor.engine, batcher=batcher)

    def _download(self, manifest: ModelManifest) -> bytes:
        artifact = self._models.fetch(manifest.artifact)
        self._disk.put(manifest.digest, artifact)
        return artifact

    def _drop_unused(self) -> None:
        dropped: list[LoadedModel] = []
        with self._lock:
            for digest in [d for d, model in self._loaded.items() if not model.users]:
                if len(self._loaded) <= self._max_models:
                    break
                dropped.append(self._loaded.pop(digest))
        for model in dropped:
            model.batcher.close()
            log.info("model dropped", model=str(model.manifest))


class ArtifactCache:
    """Artifacts on this machine's disk, by digest; shared by its worker processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, digest: str) -> bytes | None:
        """The artifact, if it is there and whole."""
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if sha256_hex(data) == digest:
            return data
        log.warning("cached artifact is damaged, fetching it again", path=str(path))
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def put(self, digest: str, data: bytes) -> None:
        """Keep the artifact; another process sees all of it or nothing.

        Raises:
            LocalDiskError: The disk is full, or the folder is not writable.
        """
        path = self._path(digest)
        part: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, part = tempfile.mkstemp(dir=path.parent, prefix=".part-")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(part).replace(path)
        except OSError as exc:
            if part is not None:
                Path(part).unlink(missing_ok=True)
            raise LocalDiskError(
                f"cannot keep a model of {len(data)} bytes in {path.parent} ({exc.strerror}); "
                "free space there or set FORNADA_CACHE_DIR to another disk"
            ) from exc

    def _path(self, digest: str) -> Path:
        return self._folder / "artifacts" / f"{digest}.keras"
