"""Versions of models that nothing loads, published in memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fornada.storage.memory import InMemoryObjectStore
from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from model_store.testing import draft_for_test

from ...walls import no_wall

Publish = Callable[..., ModelManifest]


@pytest.fixture
def models(memory_objects: InMemoryObjectStore) -> ModelStore:
    """An empty model store in memory."""
    return ModelStore(objects=memory_objects, open_wall=no_wall)


@pytest.fixture
def publish(models: ModelStore) -> Publish:
    """`publish(artifact=…, files=…, sign_key=…, **facts)`: the next version of model `m`."""

    def published(
        *,
        artifact: bytes = b"artifact",
        files: dict[str, bytes] | None = None,
        sign_key: Any = None,
        **facts: Any,
    ) -> ModelManifest:
        draft = {"name": "m", "item_shape": [2], "item_dtype": "uint8", "classes": ["a", "b"]}
        return models.publish(
            draft_for_test(**{**draft, **facts}),
            artifact=artifact,
            golden_inputs=np.zeros((1, 2), np.uint8),
            golden_outputs=np.zeros((1, 2), np.float32),
            files=files or {"history.json": b"{}"},
            check=lambda _: None,
            sign_key=sign_key,
        )

    return published
