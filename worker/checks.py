"""What `fornada doctor` checks for workers: the cores, and that a model predicts."""

import time
from collections.abc import Iterator
from typing import get_args

from fornada.commands.doctor.finding import Finding
from fornada.errors import MissingExtraError
from fornada.formats.images import missing_decoders
from fornada.formats.images.kinds import ImageKind
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.opening import open_store
from model_store.engines.artifact.work import Work
from model_store.engines.catalog import open_engine, require_engine
from model_store.engines.interface import Engine
from model_store.manifest import ModelManifest
from model_store.safety.trust import Trust
from model_store.scratch import scratch_folder
from model_store.store import ModelStore
from worker.compute.artifact_cache import ArtifactCache
from worker.compute.first_load import FirstLoads
from worker.compute.predictor import EnginePredictor, Predictor
from worker.compute.thread_choice import shard_cost
from worker.compute.tile_choice import Calibrations, TileChoice, calibrations
from worker.host.hardware import granted_cores


def model_checks(settings: Settings, ref: str | None) -> Iterator[Finding]:
    """Load the model `ref`, by default the newest version of each, as a worker would, and predict.

    Raises:
        FornadaError: The store cannot be reached, or a model is unknown or refused.
    """
    threads = granted_cores()
    yield Finding(
        check="cores",
        status="ok",
        detail=f"a worker makes {threads} predict calls at a time, shared by its --processes, each "
        "on one core",
    )
    objects = open_store(settings)
    models = ModelStore(objects=objects, trust=Trust.from_settings(settings))
    refs = [ref] if ref else models.names()
    try:
        require_engine(settings.engine)
    except MissingExtraError as exc:
        yield Finding(check="model", status="skip", detail=f"only workers load models: {exc}")
        return
    yield _images()
    if not refs:
        yield Finding(
            check="model", status="skip", detail="none is published; `fornada train` publishes one"
        )
        return
    engine = open_engine(settings.engine, threads=threads)
    # Nothing measured here is kept, so there is nothing to decide.
    kept = calibrations(objects=objects, decide=lambda _, data: data, engine=engine)
    for name in refs:
        yield from _load_and_predict(settings, models, name, engine, kept)


def _images() -> Finding:
    """The kinds of image file that a worker on this machine decodes."""
    missing = missing_decoders()
    decoded = [kind for kind in get_args(ImageKind) if kind not in missing]
    lacks = [f"{kind}: {what}" for kind, what in missing.items()]
    return Finding(
        check="images",
        # HEIC is an extra of its own.
        status="warn" if missing.keys() - {"HEIC"} else "ok",
        detail="; ".join([f"a worker here decodes {', '.join(decoded) or 'none'}", *lacks]),
    )


def _load_and_predict(
    settings: Settings, models: ModelStore, ref: str, engine: Engine, kept: Calibrations
) -> Iterator[Finding]:
    manifest = models.verified_manifest(models.resolve(ref).pin)
    tile, most_items = "FORNADA_MAX_BATCH_SIZE", None

    def choose_tile(manifest: ModelManifest, work: Work) -> int:
        nonlocal tile
        if settings.max_batch_size is not None:
            return settings.max_batch_size
        found = kept.find(manifest, work)
        tile = "as kept" if found else "from its layers"
        return (found or kept.choose(work, most_items)).tile_items

    began = time.monotonic()
    # Loading predicts the golden batch, and refuses the model if its outputs differ.
    with scratch_folder() as folder:
        models.download(manifest.artifact, folder / "model.keras")
        disk = ArtifactCache(settings.cache_dir)
        first_loads = FirstLoads(
            settings,
            models=models,
            disk=disk,
            known_items=TileChoice(settings, kept=kept).known_items,
        )
        most_items = first_loads.check(manifest, folder / "model.keras")
        predictor = EnginePredictor(
            manifest,
            folder / "model.keras",
            engine=engine,
            models=models,
            choose_tile=choose_tile,
        )
    rows = predictor.tile_items
    yield Finding(
        check="model",
        status="ok",
        detail=f"{manifest} loads and predicts its golden batch in "
        f"{time.monotonic() - began:.1f} s on {engine.name}; "
        f"{rows} {'item' if rows == 1 else 'items'} a call ({tile})",
    )
    yield Finding(
        check="threads",
        status="ok",
        detail=_threads(settings, manifest, predictor, models.objects),
    )


def _threads(
    settings: Settings, manifest: ModelManifest, predictor: Predictor, objects: ObjectStore
) -> str:
    if manifest.is_open:
        return f"not measured: {manifest} takes items of any size"
    cost = shard_cost(manifest, predictor, objects=objects, settings=settings)
    needed = cost.threads(settings, streams=predictor.streams)
    why = (
        f"a shard of {manifest} waits {1000 * cost.wait_s:.0f} ms for the store and computes "
        f"{1000 * cost.busy_s:.0f} ms on a core"
    )
    if settings.worker_threads is None:
        return f"a worker process has {needed} shards in hand, and takes as many messages: {why}"
    return (
        f"a worker process has {settings.worker_threads} shards in hand, as "
        f"FORNADA_WORKER_THREADS says; unset, it would have {needed}: {why}"
    )
