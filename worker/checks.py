"""What `fornada doctor` checks on behalf of workers: a model loads, and predicts."""

import time
from collections.abc import Iterator

from fornada.doctor import Finding
from fornada.errors import MissingExtraError
from fornada.object_store import S3ObjectStore
from fornada.settings import Settings
from model_store.store import ModelStore
from model_store.trust import Trust
from worker.cores import granted_cores
from worker.engines import Engine, open_engine
from worker.predictor import EnginePredictor
from worker.requirements import require_engine


def model_checks(settings: Settings, ref: str | None) -> Iterator[Finding]:
    """Load the model `ref` (else the newest version of each) as a worker would, and predict.

    Raises:
        FornadaError: The store cannot be reached, or a model is unknown or refused.
    """
    objects = S3ObjectStore.from_settings(settings)
    models = ModelStore(objects=objects, trust=Trust.from_settings(settings))
    refs = [ref] if ref else models.names()
    if not refs:
        yield Finding(
            check="model", status="skip", detail="none is published; `fornada train` publishes one"
        )
        return
    try:
        require_engine(settings.engine)
    except MissingExtraError as exc:
        yield Finding(check="model", status="skip", detail=f"workers load models, not this: {exc}")
        return
    engine = open_engine(settings.engine, threads=granted_cores())
    for name in refs:
        yield _load_and_predict(settings, models, name, engine)


def _load_and_predict(settings: Settings, models: ModelStore, ref: str, engine: Engine) -> Finding:
    manifest = models.pinned(models.resolve(ref).pin)
    began = time.monotonic()
    # Loading predicts the golden batch, and refuses the model if its outputs differ.
    EnginePredictor(
        manifest,
        models.fetch(manifest.artifact),
        settings.max_batch_size,
        engine=engine,
        models=models,
    )
    return Finding(
        check="model",
        status="ok",
        detail=f"{manifest} loads and predicts its golden batch in "
        f"{time.monotonic() - began:.1f} s on {engine.name}",
    )
