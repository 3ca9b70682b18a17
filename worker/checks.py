"""What `fornada doctor` checks for workers: the cores, and that a model predicts."""

import time
from collections.abc import Iterator
from functools import partial
from typing import get_args

from fornada.commands.doctor.finding import Finding
from fornada.errors import MissingExtraError
from fornada.formats.images import missing_decoders
from fornada.formats.images.kinds import ImageKind
from fornada.settings import Settings
from fornada.storage.opening import open_store
from model_store.engines.catalog import open_engine, require_engine
from model_store.engines.interface import Engine
from model_store.safety.trust import Trust
from model_store.scratch import scratch_folder
from model_store.store import ModelStore
from worker.compute.artifact_cache import ArtifactCache
from worker.compute.first_load import FirstLoads
from worker.compute.predictor import EnginePredictor
from worker.compute.thread_choice import least_threads
from worker.compute.tile_choice import TileChoice
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
    tiles = TileChoice(settings, objects=objects, decide=lambda _, own: own, engine=engine)
    for name in refs:
        yield _load_and_predict(settings, models, name, engine, tiles)
    yield Finding(check="threads", status="ok", detail=_threads(settings, engine))


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
    settings: Settings, models: ModelStore, ref: str, engine: Engine, tiles: TileChoice
) -> Finding:
    manifest = models.verified_manifest(models.resolve(ref).pin)
    known_items = tiles.known_items(manifest)
    began = time.monotonic()
    # Loading predicts the golden batch, and refuses the model if its outputs differ.
    with scratch_folder() as folder:
        models.download(manifest.artifact, folder / "model.keras")
        first_loads = FirstLoads(
            settings,
            models=models,
            disk=ArtifactCache(settings.cache_dir),
            known_items=tiles.known_items,
        )
        most_items = first_loads.check(manifest, folder / "model.keras")
        rows = EnginePredictor(
            manifest,
            folder / "model.keras",
            engine=engine,
            models=models,
            choose_tile=partial(tiles.choose, most_items=most_items, keep=False),
        ).tile_items
    source = "as kept" if rows == known_items else "from its layers"
    if settings.max_batch_size is not None:
        source = "FORNADA_MAX_BATCH_SIZE"
    return Finding(
        check="model",
        status="ok",
        detail=f"{manifest} loads and predicts its golden batch in "
        f"{time.monotonic() - began:.1f} s on {engine.name}; "
        f"{rows} {'item' if rows == 1 else 'items'} a call ({source})",
    )


def _threads(settings: Settings, engine: Engine) -> str:
    if settings.worker_threads is not None:
        return (
            f"a worker process has {settings.worker_threads} shards in hand, as "
            "FORNADA_WORKER_THREADS says"
        )
    return (
        f"a worker process has {least_threads(engine)} shards in hand, and takes as many messages; "
        "more where shards wait long for the store, which its log then says"
    )
