"""How the items of a model's training set are spread over its classes, where that is known."""

import json

from pydantic import TypeAdapter, ValidationError

from fornada import keys
from fornada.errors import FornadaError
from fornada.records import ModelPin
from gateway.recent import Recent
from model_store.manifest import ModelRef
from model_store.store import ModelStore

_MAX_BYTES = 4 * 1024 * 1024
_COUNTS = TypeAdapter(dict[str, int])
_KEPT = 128


class TrainingShares:
    """Reads what publishers stored beside their models. Safe to share between threads."""

    def __init__(self, *, models: ModelStore) -> None:
        self._models = models
        self._found: Recent[dict[str, float]] = Recent(kept=_KEPT)

    def of(self, model: ModelPin) -> dict[str, float]:
        """The share of each class among the training items; empty where it is not known."""
        return self._found.get(str(model), lambda: self._read(model), for_ever=True)

    def _read(self, model: ModelPin) -> dict[str, float]:
        try:
            manifest = self._models.resolve(ModelRef(name=model.name, version=model.version))
            ref = manifest.files.get(keys.TRAINING_CLASSES)
            if ref is None or ref.size_bytes > _MAX_BYTES or manifest.digest != model.sha256:
                return {}
            counts = _COUNTS.validate_python(json.loads(self._models.fetch(ref)), strict=True)
        except (FornadaError, ValueError, RecursionError, ValidationError):
            # Whoever published the model may have stored anything there.
            return {}
        total = sum(counts.values())
        return {name: count / total for name, count in counts.items()} if total > 0 else {}
