"""Compute one attempt at a shard: fetch, predict, store; in this process or in one of its own."""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fornada.errors import ModelRefusedError, PredictionError
from fornada.formats.npy import to_npy
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.shard_items import Items, read_items
from fornada.jobs.store import JobStore
from fornada.logs import get_logger
from fornada.records import ObjectRef, now
from model_store.manifest import ModelManifest
from worker.compute.batcher import Probabilities
from worker.compute.model_cache import LoadedModel, ModelCache
from worker.host.deadlines import Deadlines
from worker.shards.attempt import Attempt
from worker.shards.isolation import IsolatedProcess, bisect

log = get_logger(__name__)


class Computation:
    """Turns attempts into outcomes; commits nothing."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        models: ModelCache,
        deadlines: Deadlines,
        isolate: Callable[[str, int], IsolatedProcess],
        worker: str,
        shard_deadline_s: float,
    ) -> None:
        self._jobs = jobs
        self._models = models
        self._deadlines = deadlines
        self._isolate = isolate
        self._worker = worker
        self._shard_deadline_s = shard_deadline_s

    def run(self, attempt: Attempt) -> ShardOutcome:
        """Compute the shard; store its probabilities; return the outcome to commit.

        Raises:
            InputError, IntegrityError, ObjectNotFoundError: The shard is at fault.
            ModelError: The model is at fault.
            ProcessDiedError: Even processes of its own died over the shard.
            FornadaError: It may go better another time.
        """
        if attempt.number > attempt.manifest.max_attempts:
            # It may have ended this many workers; the next one shall not be ours.
            return self._compute_isolated(attempt)
        with self._deadlines.within(self._shard_deadline_s):
            return self._compute(attempt)

    def _compute(self, attempt: Attempt) -> ShardOutcome:
        manifest = attempt.manifest
        with self._models.use(manifest.model) as model:
            _check_signature(manifest, model.manifest)
            clock = _Stopwatch()
            items = read_items(manifest, attempt.spec, jobs=self._jobs)
            fetch_s = clock.lap()
            probabilities = _predict(model, items, attempt)
            predict_s = clock.lap()
            data = self._put_data(attempt, probabilities)
            return self._ok(
                attempt,
                data=data,
                item_errors=items.errors,
                engine=model.engine,
                tile_items=model.batcher.tile_items,
                fetch_s=fetch_s,
                predict_s=predict_s,
                upload_s=clock.lap(),
            )

    def run_together(self, attempts: Sequence[Attempt]) -> list[ShardOutcome]:
        """Compute small shards of one model in one call of its batcher.

        Raises:
            Exception: One of them, or the model, is at fault; by itself each will say which.
        """
        with (
            self._deadlines.within(self._shard_deadline_s),
            self._models.use(attempts[0].manifest.model) as model,
        ):
            for attempt in attempts:
                _check_signature(attempt.manifest, model.manifest)
            clock = _Stopwatch()
            read = [read_items(a.manifest, a.spec, jobs=self._jobs) for a in attempts]
            fetch_s = clock.lap()
            rows = np.concatenate([items.rows for items in read])
            outputs = np.empty((0, len(attempts[0].manifest.classes)), np.float32)
            if len(rows):
                outputs = model.batcher.predict(rows)
            predict_s = clock.lap()
            ends = itertools.accumulate(len(items.rows) for items in read)
            parts = np.split(outputs, list(ends)[:-1])
            return [
                self._ok(
                    attempt,
                    data=self._put_data(attempt, _placed(part, items, attempt)),
                    item_errors=items.errors,
                    engine=model.engine,
                    tile_items=model.batcher.tile_items,
                    # Of all that were computed together.
                    fetch_s=fetch_s,
                    predict_s=predict_s,
                )
                for attempt, items, part in zip(attempts, read, parts, strict=True)
            ]

    def _compute_isolated(self, attempt: Attempt) -> ShardOutcome:
        """Predict in a process of its own, and halve what it dies over, down to the item."""
        manifest, item_count = attempt.manifest, attempt.item_count
        log.warning("shard isolated", job_id=manifest.job_id, shard=attempt.shard)
        with self._isolate(manifest.job_id, attempt.shard) as process:
            clock = _Stopwatch()
            probabilities, errors = bisect(
                item_count, process.predict, class_count=len(manifest.classes)
            )
            predict_s = clock.lap()
            data = self._put_data(attempt, probabilities)
            return self._ok(
                attempt,
                data=data,
                item_errors=errors,
                isolated=True,
                engine=process.engine,
                tile_items=process.tile_items,
                predict_s=predict_s,
                upload_s=clock.lap(),
            )

    def _ok(self, attempt: Attempt, **found: Any) -> ShardOutcome:
        return ShardOutcome(
            status="ok",
            item_count=attempt.item_count,
            committed_at=now(),
            **attempt.identity(self._worker),
            **found,
        )

    def _put_data(self, attempt: Attempt, probabilities: Probabilities) -> ObjectRef:
        data = to_npy(probabilities)
        return self._jobs.put_data(attempt.manifest, attempt.shard, attempt.id, data)

    def dead(self, attempt: Attempt, reason: str, detail: str) -> ShardOutcome:
        """The outcome of a shard that will not be tried again."""
        job_id, shard = attempt.manifest.job_id, attempt.shard
        log.error("shard is dead", job_id=job_id, shard=shard, reason=reason, why=detail)
        return ShardOutcome(
            status="dead",
            item_count=attempt.item_count,
            reason=reason,
            detail=detail[:2000],
            committed_at=now(),
            **attempt.identity(self._worker),
        )


def _check_signature(manifest: JobManifest, model: ModelManifest) -> None:
    # Any producer may have written the job's; NumPy would fit wrong items into a tile silently.
    have = f"{manifest.item_dtype} {manifest.item_shape}"
    want = f"{model.item_dtype} {model.item_shape}"
    if have != want:
        raise ModelRefusedError(f"it takes items of {want}, and the job has {have}; submit it anew")


def _predict(model: LoadedModel, items: Items, attempt: Attempt) -> Probabilities:
    """float32 [items, classes] in the shard's order; a row is NaN where its item failed."""
    if len(items.rows):
        return _placed(model.batcher.predict(items.rows), items, attempt)
    return np.full((attempt.item_count, len(attempt.manifest.classes)), np.nan, np.float32)


def _placed(outputs: Probabilities, items: Items, attempt: Attempt) -> Probabilities:
    """`outputs`, a row for each item that did not fail, in the shard's order."""
    item_count, class_count = attempt.item_count, len(attempt.manifest.classes)
    if outputs.shape[1] != class_count:
        raise PredictionError(
            f"it gives {outputs.shape[1]} outputs an item, and has {class_count} classes; publish "
            "it with one class for each output"
        )
    if len(items.rows) == item_count:
        return outputs
    probabilities = np.full((item_count, class_count), np.nan, np.float32)
    probabilities[items.positions] = outputs
    return probabilities


class _Stopwatch:
    """Seconds between laps."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def lap(self) -> float:
        last, self._last = self._last, time.monotonic()
        return self._last - last
