"""What `fornada doctor` checks on behalf of workers: a model loads, and predicts."""

import time
from collections.abc import Iterator
from importlib.util import find_spec

from fornada.doctor import Finding
from fornada.object_store import S3ObjectStore
from fornada.settings import Settings
from model_store.store import ModelStore
from worker.predictor import KerasPredictor


def model_checks(settings: Settings, ref: str | None) -> Iterator[Finding]:
    """Load the model `ref` (else the newest version of each) as a worker would, and predict.

    Raises:
        FornadaError: The store cannot be reached, or a model is unknown or refused.
    """
    models = ModelStore(objects=S3ObjectStore.from_settings(settings))
    refs = [ref] if ref else models.names()
    if not refs:
        yield Finding(
            check="model", status="skip", detail="none is published; `fornada train` publishes one"
        )
    elif find_spec("tensorflow") is None:
        yield Finding(
            check="model", status="skip", detail="no TensorFlow here; workers load models, not this"
        )
    else:
        for name in refs:
            yield _load_and_predict(settings, models, name)


def _load_and_predict(settings: Settings, models: ModelStore, ref: str) -> Finding:
    manifest = models.resolve(ref)
    began = time.monotonic()
    # Loading predicts the golden batch, and refuses the model if its outputs differ.
    predictor = KerasPredictor(
        manifest, models.fetch(manifest.artifact), settings.max_batch_size, models=models
    )
    return Finding(
        check="model",
        status="ok",
        detail=f"{manifest} loads and predicts its golden batch in "
        f"{time.monotonic() - began:.1f} s on {predictor.engine}",
    )
