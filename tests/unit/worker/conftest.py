"""A worker's world in memory: store, coordination on a fake clock, and a fake engine."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from fornada import keys
from fornada.coordination.interface import Claim
from fornada.coordination.signed import SignedDecisions
from fornada.events import Event, Events, log_event
from fornada.formats.npy import to_npy
from fornada.formats.rows import Rows
from fornada.jobs.ids import with_content_id
from fornada.jobs.items import Placed
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.shard_inputs import ShardInput
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.endings import Endings
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.jobs.upkeep.reconciler import Reconciler
from fornada.queue.memory import RecordingSender
from fornada.queue.message import ShardMessage
from fornada.records import JOB_VERSION, ObjectRef, now, sha256_hex
from fornada.settings import Settings
from fornada.storage.memory import InMemoryObjectStore
from fornada.tensors import InputTensor, OutputTensor
from fornada.testing import TEST_KEYS, HookedObjectStore, InMemoryCoordination
from fornada.trust.deployment_keys import DeploymentKeys
from fornada.trust.input_prefixes import InputPrefixes
from model_store.manifest import ModelManifest
from model_store.store import ModelStore
from model_store.testing import draft_for_test
from worker.compute.artifact_cache import ArtifactCache
from worker.compute.model_cache import ModelCache
from worker.host.deadlines import Deadlines
from worker.shards.isolation import ProcessDiedError
from worker.shards.service import ShardService

from ...arrays import fields_of_one, stored_rows

TILE_ITEMS = 4
ITEM_SHAPE = [3]
CLASSES = ["a", "b"]
LEASE_S = 30.0


class _Engine:
    """Builds predictors that answer row sums; records calls, and fails on demand."""

    engine, streams, calls_ahead, tile_items, part_items = "fake 1", 1, 0, TILE_ITEMS, None

    def __init__(self) -> None:
        self.tiles: list[np.ndarray] = []
        self.builds: list[str] = []
        self.build_error: Exception | None = None
        self.on_build: Callable[[], None] = lambda: None
        self.predict_error: Exception | None = None
        self.output_count = len(CLASSES)
        self._lock = threading.Lock()

    def build(self, manifest: ModelManifest, _artifact: Path, _most_items: int | None) -> "_Engine":
        with self._lock:
            self.builds.append(str(manifest))
        self.on_build()
        if self.build_error is not None:
            raise self.build_error
        return self

    def rows_for(self, _item_shape: Sequence[int]) -> int:
        return TILE_ITEMS

    def predict_one(self, row: Rows) -> Rows:
        return self.predict_tile(row.padded(TILE_ITEMS))

    def predict_tile(self, tile: Rows) -> Rows:
        return Rows(self.answer(tile.only))

    def answer(self, tile: np.ndarray) -> np.ndarray:
        """What it gives for a tile."""
        if self.predict_error is not None:
            raise self.predict_error
        self.tiles.append(tile.copy())
        return row_sums(tile, self.output_count)


def row_sums(rows: np.ndarray, output_count: int = len(CLASSES)) -> np.ndarray:
    sums = rows.reshape(len(rows), -1).astype(np.float32).sum(axis=1)
    return np.stack([sums * (k + 1) for k in range(output_count)], axis=1).astype(np.float32)


class _Isolated:
    """An `IsolatedProcess` that dies over some items, by default over all."""

    engine, call_sizes, bytes_in = "isolated", {"tile_items": 4}, 0

    def __init__(self, deadly: Sequence[int] | None = None) -> None:
        self._deadly = deadly

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def predict(self, first: int, count: int) -> Placed:
        """Ones for each item that is not deadly."""
        run = range(first, first + count)
        if self._deadly is None or set(self._deadly) & set(run):
            raise ProcessDiedError("signal 9")
        return Placed([np.ones((count, len(CLASSES)), np.float32)], [])


class _World:
    """Everything around a worker, and the worker."""

    def __init__(self, *, conditional_writes: bool, folder: Path) -> None:
        self.now_s = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
        #: What reconcilers see pass; queues' clocks are moved by `advance`.
        self.monotonic_s = 0.0
        self.sender = RecordingSender()
        self.queue = self.sender.messages
        self.objects = HookedObjectStore(InMemoryObjectStore(conditional_writes=conditional_writes))
        self.coordination = InMemoryCoordination(
            clock=lambda: self.now_s, queue_length=lambda: len(self.queue), lease_s=LEASE_S
        )
        self.models = ModelStore(objects=self.objects)
        self.engine = _Engine()
        self.heard: list[Event] = []
        #: Once for each call that the device failed for good.
        self.lost: list[str] = []
        self.events = Events(self.heard.append, log_event)
        # What the store that an old version wrote has, too.
        read = "s3://fornada/inputs/,s3://fornada/photos/,s3://fornada/ids/"
        self.settings = Settings(
            lease_s=LEASE_S, max_loaded_models=2, max_latency_s=0.0, input_prefixes=read
        )
        self.cache = ModelCache(
            self.settings,
            models=self.models,
            build=self.engine.build,
            disk=ArtifactCache(folder),
            on_lost=lambda: self.lost.append("lost"),
            events=self.events,
            clock=lambda: self.now_s,
        )
        #: The isolated process; by default it dies over every item.
        self.isolated: Any = _Isolated()
        self.isolate_over = lambda *deadly: setattr(self, "isolated", _Isolated(deadly))
        self.row_sums = row_sums
        self.lease_s = LEASE_S
        self.use_keys(TEST_KEYS)

    def use_keys(self, deployment_keys: DeploymentKeys) -> None:
        """From now on, the deployment has these keys."""
        self.deployment_keys = deployment_keys
        decisions = SignedDecisions(
            self.coordination, deployment_keys=deployment_keys, monotonic=lambda: self.now_s
        )
        prefixes = InputPrefixes.from_settings(self.settings)
        self.jobs = JobStore(objects=self.objects, decisions=decisions, prefixes=prefixes)
        self.service = self.new_service("worker-1")

    def new_service(self, worker: str, *, lease_s: float = LEASE_S) -> ShardService:
        return ShardService(
            self.settings.model_copy(update={"lease_s": lease_s}),
            worker=worker,
            jobs=self.jobs,
            manifests=Manifests(jobs=self.jobs),
            models=self.cache,
            leases=self.coordination,
            endings=Endings(
                jobs=self.jobs,
                open_jobs=self.coordination,
                holder=worker,
                lease_s=lease_s,
                events=self.events,
            ),
            deadlines=Deadlines(),
            isolate=lambda _job_id, _shard: self.isolated,
            deployment_keys=self.deployment_keys,
            events=self.events,
        )

    def new_reconciler(
        self,
        holder: str = "worker-1",
        *,
        check_bucket: Callable[[], object] = lambda: None,
        **options: Any,
    ) -> Reconciler:
        settings = Settings(**{"reconcile_interval_s": 5.0, "lease_s": LEASE_S, **options})
        return Reconciler(
            jobs=self.jobs,
            manifests=Manifests(jobs=self.jobs),
            recovery=self.coordination.for_queue(settings.queue),
            sender=self.sender,
            settings=settings,
            holder=holder,
            deployment_keys=self.deployment_keys,
            check_bucket=check_bucket,
            events=self.events,
            monotonic=lambda: self.monotonic_s,
        )

    def advance(self, seconds: float) -> None:
        """Time passes by the server's clock, and by that of the queue."""
        self.now_s += seconds
        self.coordination.elapse(seconds)

    def publish(
        self,
        name: str = "m",
        artifact: bytes = b"weights",
        *,
        item_shape: Sequence[int] = ITEM_SHAPE,
        takes: InputTensor | None = None,
        gives: OutputTensor | None = None,
    ) -> ModelManifest:
        draft = draft_for_test(
            name=name, item_shape=list(item_shape), item_dtype="float32", classes=list(CLASSES)
        )
        draft = draft.model_copy(
            update={"inputs": [takes or draft.input], "outputs": [gives or draft.output]}
        )
        golden = np.zeros((1, *item_shape), np.float32)
        return self.models.publish(
            draft,
            artifact=artifact,
            golden_inputs=golden,
            golden_outputs=row_sums(golden),
            check=lambda _artifact: None,
        )

    def stored(self, key: str, data: bytes) -> ObjectRef:
        self.objects.put(key, data)
        return ObjectRef(key=key, size_bytes=len(data), sha256=sha256_hex(data))

    def submit(
        self,
        parts: Sequence[np.ndarray] | None = None,
        *,
        job_id: str = "job",
        shards: list[ShardInput] | None = None,
        deadline_s: float | None = None,
        **changes: object,
    ) -> JobManifest:
        if shards is None:
            parts = [np.ones((2, *ITEM_SHAPE), np.float32)] if parts is None else parts
            shards = [
                ShardInput(
                    objects=[self.stored(f"jobs/{job_id}/input/{index}.npy", to_npy(part))],
                    item_count=len(part),
                )
                for index, part in enumerate(parts)
            ]
        if deadline_s is not None:
            at = datetime.fromtimestamp(self.now_s, UTC)
            changes["deadline"] = at + timedelta(seconds=deadline_s)
        manifest = self._manifest(job_id=job_id, shards=shards, **changes)
        self.coordination.open_job(job_id)
        return self.jobs.create(manifest)

    def submit_small(self, parts: Sequence[np.ndarray], **changes: object) -> JobManifest:
        """A job with its inputs in its manifest, under the id of its content."""
        shards = [
            ShardInput(
                objects=[ObjectRef.of(f"inline/{n}.npy", to_npy(part), inline=True)],
                item_count=len(part),
            )
            for n, part in enumerate(parts)
        ]
        made = {"job_id": "new", "nonce": uuid.uuid4().hex, "shards": shards}
        job = with_content_id(self._manifest(**made | changes))
        self.coordination.register_small_jobs(
            [job.manifest.small_job()], queue=job.manifest.queue_name, window=1000
        )
        self.jobs.create_named(job)
        return job.manifest

    def _manifest(self, **changes: object) -> JobManifest:
        model = self.models.resolve("m") if self.models.versions("m") else self.publish()
        return JobManifest(
            **{
                "schema_version": JOB_VERSION,
                "model": model.pin,
                "max_attempts": 3,
                "created_at": datetime.fromtimestamp(self.now_s, UTC),
                **fields_of_one(
                    int(str(changes.get("schema_version", JOB_VERSION))), model.input, model.output
                ),
                **changes,
            }
        )

    def requests(self, call: Callable[[], object]) -> Counter[str]:
        """The store requests of the call, by operation and last part of the key."""
        asked: Counter[str] = Counter()
        self.objects.before = lambda operation, key: asked.update(
            [f"{operation} {key.rsplit('/', 1)[-1]}"]
        )
        try:
            call()
        finally:
            self.objects.before = lambda _operation, _key: None
        return asked

    def wipe_redis_at(self, step: str) -> list[str]:
        """Empty Redis before the first request for a key with `step` in it, which is returned."""
        wiped: list[str] = []

        def wipe(_operation: str, key: str) -> None:
            if step in key and not wiped:
                wiped.append(key)
                self.coordination.flush()

        self.objects.before = wipe
        return wiped

    def run(self, shard: int = 0, job_id: str = "job", service: ShardService | None = None) -> str:
        return (service or self.service).run(ShardMessage(job_id=job_id, shard=shard))

    def outcome(self, shard: int = 0, job_id: str = "job") -> ShardOutcome:
        outcome = self.jobs.outcome(job_id, shard)
        assert outcome is not None
        return outcome

    def data(self, shard: int = 0, job_id: str = "job") -> np.ndarray:
        return stored_rows(self.jobs, self.outcome(shard, job_id))

    def attempts(self, shard: int = 0, job_id: str = "job") -> int:
        """How many attempts are counted, found by a further one that is not."""
        self.advance(LEASE_S + 1)
        begun = self.coordination.begin([Claim(job_id, shard, "probe")], lease_s=0.001)[0]
        self.coordination.forget_attempt(Claim(job_id, shard, "probe"))
        self.advance(1)
        return begun.attempts - 1

    def commit(
        self, shard: int = 0, *, status: str = "ok", attempt: str = "other", job_id: str = "job"
    ) -> ShardOutcome:
        """Commit an outcome of another worker, with NaN as probabilities."""
        manifest = self.jobs.manifest(job_id)
        items = manifest.shards[shard].item_count
        data = None
        if status == "ok":
            array = np.full((items, len(CLASSES)), np.nan, np.float32)
            data = self.stored(keys.JobKeys(job_id).data(shard, attempt), to_npy(array))
        return self.jobs.commit(
            ShardOutcome(
                schema_version=manifest.schema_version,
                job_id=job_id,
                shard=shard,
                status=status,
                attempt=attempt,
                data=data,
                item_count=items,
                reason=None if status == "ok" else "crash-loop",
                model_sha256=manifest.model.sha256,
                worker="worker-2",
                began_at=now(),
                committed_at=now(),
            )
        )


@pytest.fixture(params=[True, False], ids=["conditional", "unconditional"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[_World]:
    """A world whose store honours conditional writes, and one whose store ignores them."""
    made = _World(conditional_writes=request.param, folder=tmp_path)
    yield made
    made.cache.close()
