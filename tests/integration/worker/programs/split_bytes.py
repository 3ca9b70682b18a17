"""Predicts the same items again and again, each time split otherwise, and compares the bytes.

A program, for Keras has one backend in a process, and TensorFlow's threads are set once. It is
given an engine, its threads, how many examples to try, and a folder of models (`NAME.keras`) with
items and outputs (`NAME.npz`); the items of the model `photos` are the images there, of several
sizes. What it runs is the worker's own: service, model cache, batcher, engine, reconciler; store
and Redis are in memory. It fails with Hypothesis's example where a byte differs; else it prints, as
JSON, the sha256 of each model's probabilities, and how often a shard was tried again.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fornada.errors import StoreUnavailableError
from fornada.formats.rows import Rows
from fornada.jobs.items import Items
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.endings import Endings
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.jobs.upkeep.reconciler import Reconciler
from fornada.queue.celery_queue import bundles_of
from fornada.queue.message import ShardMessage
from fornada.records import sha256_hex
from fornada.settings import Settings
from fornada.storage.memory import InMemoryObjectStore
from fornada.storage.wrapper import StoreWrapper
from fornada.tensors import ImagePreprocessing, InputTensor
from fornada.testing import InMemoryCoordination
from model_store.engines.artifact.work import Work
from model_store.engines.catalog import open_engine
from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from model_store.testing import draft_for_test
from producer.client import Client
from producer.job import Job
from worker.compute.artifact_cache import ArtifactCache
from worker.compute.model_cache import ModelCache
from worker.compute.predictor import EnginePredictor
from worker.host.deadlines import Deadlines
from worker.shards.service import ShardService

_TILE_ITEMS = {"cnn": 32, "mlp": 32, "wide": 1024}
#: Of the two workers: exact models give the same bytes with any.
_EXACT_TILE_ITEMS = (32, 13)
_WORKERS = 2
_THREADS_OF_A_WORKER = 3
_LEASE_S = 30.0
#: What is not done by then will not be.
_ROUNDS = 50
_SOAKING = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
_SOAKED_EXAMPLES = 500

#: Which way items go, how many, and how many a job or shard.
_SHARES = st.lists(
    st.tuples(
        st.sampled_from(["shards of one job", "small jobs", "calls"]),
        st.integers(1, 80),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=6,
)


def main() -> None:
    """Take one undisturbed pass, then compare many others with it."""
    name, threads, examples, folder = sys.argv[1:]
    deployment = _Deployment(name, threads=int(threads), folder=Path(folder))
    expected = {model: deployment.undisturbed(model) for model in deployment.items}

    @settings(
        max_examples=_SOAKED_EXAMPLES if _SOAKING else int(examples),
        deadline=None,
        derandomize=not _SOAKING,
        database=None,
        # Threads do not meet alike twice: a smaller example need not show what a larger one did.
        phases=[Phase.generate],
    )
    @given(
        shares=_SHARES,
        seed=st.integers(0, 2**32 - 1),
        together=st.integers(1, 32),
        failing=st.sets(st.integers(0, 40), max_size=6),
    )
    def every_byte_is_the_same(
        shares: list[tuple[str, int, int]], seed: int, together: int, failing: set[int]
    ) -> None:
        for model, outputs in expected.items():
            order = np.random.default_rng(seed).permutation(len(outputs))
            found = deployment.predicted(
                model, order, shares=shares, seed=seed, together=together, failing=failing
            )
            for positions, probabilities in found:
                wrong = [
                    int(position)
                    for position, row in zip(positions, probabilities, strict=True)
                    if outputs[position].tobytes() != row.tobytes()
                ]
                assert not wrong, f"{model}: other bytes for the items {wrong}"

    every_byte_is_the_same()
    digests = {model: sha256_hex(rows.tobytes()) for model, rows in expected.items()}
    json.dump({"digests": digests, "deferred": deployment.deferred}, sys.stdout)
    deployment.close()


class _FailingStore(StoreWrapper):
    """Refuses some writes, as a store that is away for moments."""

    def __init__(self) -> None:
        super().__init__(InMemoryObjectStore())
        self._failing: set[int] = set()

    @contextmanager
    def failing_at(self, failing: set[int]) -> Iterator[None]:
        """Refuse these writes of the block, counted from 0 on."""
        self._failing, self._writes = failing, itertools.count()
        try:
            yield
        finally:
            self._failing = set()

    def around(self, operation: str, key: str) -> AbstractContextManager[object]:
        """Refuse the call if it is one of those writes."""
        if operation.startswith("put"):
            self._refuse(key)
        return super().around(operation, key)

    def _refuse(self, key: str) -> None:
        if self._failing and next(self._writes) in self._failing:
            raise StoreUnavailableError(f"the store is away, of all times now ({key})")


class _Deployment:
    """A store, a queue, a clock, and two workers with a model cache each."""

    def __init__(self, engine: str, *, threads: int, folder: Path) -> None:
        #: What was published, by model: item dtype [items, *item_shape], or paths.
        self.items: dict[str, NDArray[Any]] = {}
        #: Bundles that went back to the queue, at least in part.
        self.deferred = 0
        self._now_s = time.time()
        self._queue: list[Sequence[ShardMessage]] = []
        self._together = 1
        self._objects = _FailingStore()
        self._coordination = InMemoryCoordination(clock=lambda: self._now_s)
        self._jobs = JobStore(objects=self._objects, decisions=self._coordination)
        self._models = ModelStore(objects=self._objects)
        self._engine = open_engine(engine, threads=threads)
        for path in sorted(folder.glob("*.keras")):
            self._publish(path)
        self._is_exact = engine == "keras-exact"
        self._caches = [self._new_cache(number, folder=folder) for number in range(_WORKERS)]
        self._services = [self._new_service(number) for number in range(_WORKERS)]
        self._reconciler = Reconciler(
            jobs=self._jobs,
            manifests=Manifests(jobs=self._jobs),
            recovery=self._coordination,
            sender=self,
            settings=Settings(requeue_after_s=_LEASE_S, lease_s=_LEASE_S),
            holder="worker-0",
        )

    def undisturbed(self, model: str) -> NDArray[np.float32]:
        """float32 [items, classes] of all items: one shard, one worker, one thread."""
        items = self._items(model, np.arange(len(self.items[model])))
        job = self._client(inline=False).submit(items, model=model, items_per_shard=len(items))
        (bundle,) = self._take_all()
        assert ["ok"] == self._services[0].run_bundle(bundle)
        return job.results().probabilities

    def predicted(
        self,
        model: str,
        order: NDArray[np.int64],
        *,
        shares: Sequence[tuple[str, int, int]],
        seed: int,
        together: int,
        failing: set[int],
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Items in any order by many ways at once: positions, and what came of them."""
        self._together = together
        jobs: list[tuple[NDArray[np.int64], Job]] = []
        calls: list[NDArray[np.int64]] = []
        first = 0
        for way, count, each in shares:
            positions = np.take(order, range(first, first + count), mode="wrap")
            first += count
            parts = np.split(positions, range(each, count, each))
            if way == "calls":
                calls += parts
            elif way == "small jobs":
                submissions = [self._items(model, part) for part in parts]
                made = self._client(inline=True).submit_many(submissions, model=model)
                jobs += zip(parts, made, strict=True)
            else:
                client = self._client(inline=False)
                job = client.submit(
                    self._items(model, positions), model=model, items_per_shard=each
                )
                jobs.append((positions, job))
        with self._objects.failing_at(failing):
            answers = self._run_all([job for _, job in jobs], model, calls, seed=seed)
        results = [(positions, job.results().probabilities) for positions, job in jobs]
        return [*results, *zip(calls, answers, strict=True)]

    def enqueue(
        self,
        messages: Iterable[ShardMessage],
        *,
        together: int = 1,
        traces: Mapping[str, str] | None = None,
    ) -> None:
        """Queue messages, as many in one as the example has it."""
        self._queue += bundles_of(messages, together=min(together, self._together))

    def reserved(self) -> set[ShardMessage]:
        """Nothing: it is never asked."""
        return set()

    def close(self) -> None:
        """End the batchers."""
        for cache in self._caches:
            cache.close()

    def _run_all(
        self, jobs: Sequence[Job], model: str, calls: Sequence[NDArray[np.int64]], *, seed: int
    ) -> list[NDArray[np.float32]]:
        """Have all threads of both workers at it until every job has ended."""
        rng = np.random.default_rng(seed)
        with ThreadPoolExecutor(_WORKERS * _THREADS_OF_A_WORKER) as pool:
            answers = [
                pool.submit(self._call, cache, model, positions)
                for positions, cache in zip(calls, itertools.cycle(self._caches))
            ]
            for _ in range(_ROUNDS):
                bundles = self._take_all()
                # Some come twice, at the same time or after.
                bundles += bundles[: len(bundles) // 4]
                rng.shuffle(bundles)
                services = (self._services[n % _WORKERS] for n in range(len(bundles)))
                came = pool.map(
                    lambda service, bundle: service.run_bundle(bundle), services, bundles
                )
                self.deferred += sum("deferred" in results for results in came)
                if all(self._jobs.final(job.id) for job in jobs):
                    break
                self._now_s += 2 * _LEASE_S
                self._coordination.elapse(2 * _LEASE_S)
                # Its thread continues with the next round, too.
                with suppress(StoreUnavailableError):
                    self._reconciler.round()
        states = {job.status().state for job in jobs}
        assert states <= {"SUCCEEDED"}, states
        return [answer.result() for answer in answers]

    def _call(
        self, cache: ModelCache, model: str, positions: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """What a call without a job asks of the batcher."""
        with cache.use(self._models.resolve(model).pin) as loaded:
            rows = self.items[model][positions]
            if model != "photos":
                outputs = loaded.batcher.predict(Rows(rows)).outputs
                assert outputs is not None
                return np.asarray(outputs.only)
            images = [np.asarray(Image.open(path)) for path in rows]
            singles = [(n, Rows(image[np.newaxis])) for n, image in enumerate(images)]
            items = Items.of_singles(singles, takes=loaded.manifest.inputs)
            predicted = loaded.batcher.predict_groups([group.rows for group in items.groups])
            (column,), _ = items.placed(
                predicted, gives=loaded.manifest.outputs, item_count=len(positions)
            )
            return np.asarray(column)

    def _items(self, model: str, positions: NDArray[np.int64]) -> Any:
        """Items, as a client takes them."""
        items = self.items[model][positions]
        return list(items) if model == "photos" else items

    def _take_all(self) -> list[Any]:
        taken, self._queue = list(self._queue), []
        return taken

    def _client(self, *, inline: bool) -> Client:
        given = Settings() if inline else Settings(max_inline_bytes=0)
        return Client(
            objects=self._objects, coordination=self._coordination, sender=self, settings=given
        )

    def _publish(self, path: Path) -> None:
        with np.load(path.with_suffix(".npz")) as arrays:
            items, outputs = arrays["items"], arrays["outputs"]
        classes = [str(number) for number in range(outputs.shape[1])]
        draft = draft_for_test(
            name=path.stem,
            item_shape=list(items.shape[1:]),
            item_dtype=str(items.dtype),
            classes=classes,
        )
        if path.stem == "photos":
            image = ImagePreprocessing(resize="none")
            taken = InputTensor(name="x", dtype="uint8", shape=[None, None, 3], image=image)
            draft = draft.model_copy(update={"inputs": [taken]})
        self._models.publish(
            draft,
            artifact=path.read_bytes(),
            golden_inputs=items[:8],
            golden_outputs=outputs[:8],
            check=lambda _artifact: None,
        )
        photos = np.array(sorted(path.parent.glob("*.png")), dtype=object)
        self.items[path.stem] = photos if path.stem == "photos" else items

    def _new_cache(self, number: int, *, folder: Path) -> ModelCache:
        def choose_tile(manifest: ModelManifest, _work: Work) -> int:
            return _EXACT_TILE_ITEMS[number] if self._is_exact else _TILE_ITEMS[manifest.name]

        return ModelCache(
            # One waits for more rows, and so has fuller tiles than the other.
            Settings(max_loaded_models=10, max_latency_s=0.002 * number),
            models=self._models,
            build=lambda manifest, artifact, _most_items: EnginePredictor(
                manifest,
                artifact,
                engine=self._engine,
                models=self._models,
                choose_tile=choose_tile,
            ),
            disk=ArtifactCache(folder / "cache"),
        )

    def _new_service(self, number: int) -> ShardService:
        def isolate(job_id: str, shard: int) -> Any:
            raise AssertionError(f"shard {shard} of {job_id} was tried too often")

        return ShardService(
            Settings(lease_s=_LEASE_S),
            worker=f"worker-{number}",
            jobs=self._jobs,
            manifests=Manifests(jobs=self._jobs),
            models=self._caches[number],
            leases=self._coordination,
            endings=Endings(
                jobs=self._jobs,
                open_jobs=self._coordination,
                holder=f"worker-{number}",
                lease_s=_LEASE_S,
            ),
            deadlines=Deadlines(),
            isolate=isolate,
        )


if __name__ == "__main__":
    main()
