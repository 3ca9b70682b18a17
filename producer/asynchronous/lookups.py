"""Models for an event loop: looked up once for all that ask, and again before they are too old."""

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from model_store.manifest import ModelManifest
from producer.submitting.resolver import RecentModels


class ModelLookups:
    """Looks up models in threads. Safe to share between event loops.

    Args:
        models: What is known.
        pool: The threads.
    """

    def __init__(self, models: RecentModels, pool: ThreadPoolExecutor) -> None:
        self._models = models
        self._pool = pool
        self._lock = threading.Lock()
        self._looks: dict[str, Future[ModelManifest]] = {}

    async def recent(self, model: str) -> ModelManifest:
        """What `model` meant within the last five seconds.

        Raises:
            FornadaError: As `RecentModels.resolve`.
        """
        known = self._models.known(model)
        if known is None:
            # Others may wait for the same.
            return await asyncio.shield(asyncio.wrap_future(self._look(model)))
        if self._models.begin_renewal(model):
            # If it fails, whoever finds it too old asks again, and is told.
            self._look(model)
        return known

    def _look(self, model: str) -> Future[ModelManifest]:
        with self._lock:
            look = self._looks.get(model)
            if look is None:
                look = self._looks[model] = self._pool.submit(self._renew, model)
            return look

    def _renew(self, model: str) -> ModelManifest:
        try:
            return self._models.renew(model)
        finally:
            with self._lock:
                self._looks.pop(model, None)
