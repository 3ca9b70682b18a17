"""The models that this process has loaded, each once, by digest."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fornada.errors import DeviceLostError, FornadaError, ModelDeclinedError
from fornada.events import SILENT, Events, ModelDeclined, ModelDropped, ModelLoaded, TileComputed
from fornada.logs import get_logger
from fornada.memory import release_memory
from fornada.records import ModelPin
from fornada.settings import Settings
from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from worker.compute.artifact_cache import ArtifactCache
from worker.compute.batcher import Batcher
from worker.compute.declined_models import DeclinedModels, declined_for, faults_of_loading
from worker.compute.predictor import PredictorFactory

log = get_logger(__name__)


#: When what loading left behind is freed, which holds up all threads: after a first result.
_COLLECT_AFTER_S = 2.0

#: As `FirstLoads.check`.
FirstLoad = Callable[[ModelManifest, Path], int | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class UsedModel:
    """A version of a model, ready to predict."""

    manifest: ModelManifest
    engine: str
    batcher: Batcher


class LoadedModel:
    """An artifact in memory, with the batcher that owns it, for all versions that have it."""

    def __init__(self, *, manifest: ModelManifest, engine: str, batcher: Batcher) -> None:
        self.manifest = manifest
        self.engine = engine
        self.batcher = batcher
        self.users = 0
        #: The versions that were checked; another version of the same artifact may be refused, or
        #: say something else of its classes.
        self.manifests: dict[ModelPin, ModelManifest] = {}


class ModelCache:
    """Loaded models by digest; drops the least recently used first.

    Args:
        settings: `max_loaded_models` are kept, and `model_memory_bytes` of their artifacts. A
            model takes the size of its artifact and its working memory. Models in use are kept
            beyond both limits.
        models: The store, and which of its models this process may load.
        build: Makes a predictor of an artifact.
        disk: Artifacts that this machine has already.
        first_load: Returns once a model may be loaded in this process, with the most rows of its
            calls, or raises.
        forget: Frees what the engine keeps of models that are gone.
        on_lost: Called when the GPU fails every call, which only another process cures.
        events: Hears of models loaded and dropped, and of each predict call.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        models: ModelStore,
        build: PredictorFactory,
        disk: ArtifactCache,
        first_load: FirstLoad = lambda _manifest, _artifact: None,
        forget: Callable[[], object] = lambda: None,
        on_lost: Callable[[], object] = lambda: None,
        events: Events = SILENT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = models
        self._build = build
        self._disk = disk
        self._first_load = first_load
        self._forget = forget
        self._on_lost = on_lost
        self._events = events
        self._max_models = settings.max_loaded_models
        self._max_bytes = settings.model_memory_bytes
        self._max_latency_s = settings.max_latency_s
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()
        self._declined = DeclinedModels(clock=clock)
        self._collecting: threading.Timer | None = None

    @contextmanager
    def use(self, pin: ModelPin) -> Iterator[UsedModel]:
        """The model of `pin`, kept in memory while the block runs.

        Raises:
            ModelUnusableError, ModelNotFoundError: No worker can load it.
            ModelDeclinedError: This one may not or cannot, or could not a moment ago.
            StoreError: The store cannot be reached.
        """
        model = self._acquire(pin)
        try:
            yield UsedModel(
                manifest=model.manifests[pin], engine=model.engine, batcher=model.batcher
            )
        finally:
            with self._lock:
                model.users -= 1
            self._make_room()

    def why_declined(self, pin: ModelPin) -> str | None:
        """Why this process does not try to load the model now."""
        return self._declined.why(pin)

    def decline(self, pin: ModelPin, exc: FornadaError) -> None:
        """Do not try to load the model for a while."""
        if self._declined.why(pin) is None:
            wait_s = self._declined.note(pin, exc.public_text)
            self._events.tell(ModelDeclined(model=pin, why=str(exc), retry_in_s=wait_s))

    def warm(self, refs: Iterable[str]) -> None:
        """Load models before they are needed; those that fail are logged.

        Args:
            refs: `name`, `name:version` or `name@alias`, resolved now.
        """
        for ref in refs:
            try:
                with self.use(self._models.resolve(ref).pin):
                    pass
            except FornadaError as exc:
                log.warning("model not warmed up", model=ref, error=str(exc))

    def close(self) -> None:
        """Drop every model; none may be in use."""
        with self._lock:
            models, self._loaded = list(self._loaded.values()), OrderedDict()
            collecting, self._collecting = self._collecting, None
        for model in models:
            model.batcher.close()
        if collecting is not None:
            collecting.cancel()
            collecting.join()

    def _acquire(self, pin: ModelPin) -> LoadedModel:
        with self._lock:
            loading = self._loading.setdefault(pin.sha256, threading.Lock())
        # One thread loads the model while others that need it wait.
        with loading:
            known = self._take(pin)
            if known is not None:
                return known
            why = self._declined.why(pin)
            if why is not None:
                raise ModelDeclinedError(why)
            try:
                # Even if the artifact is loaded: this version of it may be refused.
                with faults_of_loading():
                    manifest = self._models.verified_manifest(pin)
                known = self._take(pin, checked=manifest)
                if known is not None:
                    return known
                model = self._load(manifest)
            except ModelDeclinedError as exc:
                self.decline(pin, exc)
                raise
            self._declined.forget(pin)
            with self._lock:
                self._loaded[pin.sha256] = model
                model.manifests[pin] = manifest
                model.users += 1
            return model

    def _take(self, pin: ModelPin, *, checked: ModelManifest | None = None) -> LoadedModel | None:
        """The loaded model, counted as used in one step, so that it cannot be dropped between."""
        with self._lock:
            model = self._loaded.get(pin.sha256)
            if model is None or (checked is None and pin not in model.manifests):
                return None
            self._loaded.move_to_end(pin.sha256)
            if checked is not None:
                model.manifests[pin] = checked
            model.users += 1
            return model

    def _load(self, manifest: ModelManifest) -> LoadedModel:
        began_s = time.monotonic()
        with faults_of_loading():
            artifact = self._disk.get_or_fetch(
                manifest.digest, lambda path: self._models.download(manifest.artifact, path)
            )
            most_items = self._first_load(manifest, artifact)
            # First, or the dropped models and the new one would be in memory together.
            self._make_room(1, manifest.artifact.size_bytes)
            try:
                predictor = self._build(manifest, artifact, most_items)
            except DeviceLostError as exc:
                self._on_lost()
                # No item is at fault; a worker whose card is broken must not count attempts.
                raise declined_for(exc) from exc
        self._collect_later()
        batcher = Batcher(
            predictor,
            takes=manifest.inputs,
            gives=manifest.outputs,
            max_latency_s=self._max_latency_s,
            on_computed=self._tell_computed(manifest.pin),
            on_lost=self._on_lost,
        )
        self._events.tell(
            ModelLoaded(
                model=manifest.pin,
                sha256=manifest.digest[:12],
                engine=predictor.engine,
                tile_items=predictor.tile_items,
                duration_s=time.monotonic() - began_s,
            )
        )
        return LoadedModel(manifest=manifest, engine=predictor.engine, batcher=batcher)

    def _collect_later(self) -> None:
        timer = threading.Timer(_COLLECT_AFTER_S, release_memory, kwargs={"collect": True})
        timer.daemon = True
        with self._lock:
            if self._collecting is not None:
                # One collection frees what several loads left.
                self._collecting.cancel()
            self._collecting = timer
            timer.start()

    def _tell_computed(self, model: ModelPin) -> Callable[[int, int, float], None]:
        def tell(row_count: int, tile_items: int, duration_s: float) -> None:
            self._events.tell(
                TileComputed(
                    model=model, row_count=row_count, tile_items=tile_items, duration_s=duration_s
                )
            )

        return tell

    def _make_room(self, count: int = 0, size_bytes: int = 0) -> None:
        """Drop unused models until `count` more, of `size_bytes` together, have room."""
        dropped: list[LoadedModel] = []
        with self._lock:
            for digest in [d for d, model in self._loaded.items() if not model.users]:
                if self._has_room(count, size_bytes):
                    break
                dropped.append(self._loaded.pop(digest))
        for model in dropped:
            model.batcher.close()
            self._events.tell(ModelDropped(model=model.manifest.pin))
        if dropped:
            dropped.clear()
            del model
            self._forget()
            release_memory(collect=True)

    def _has_room(self, count: int, size_bytes: int) -> bool:
        loaded = self._loaded.values()
        taken_bytes = sum(model.manifest.artifact.size_bytes for model in loaded)
        return (
            len(loaded) + count <= self._max_models and taken_bytes + size_bytes <= self._max_bytes
        )
