"""A client in memory, and all that it reaches."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from fornada.errors import BrokerError
from fornada.formats.npy import from_npy
from fornada.jobs.manifest import JobManifest
from fornada.jobs.store import JobStore
from fornada.queue.memory import RecordingSender
from fornada.settings import Settings
from fornada.storage.memory import InMemoryObjectStore
from fornada.testing import InMemoryCoordination
from model_store.manifest import ModelDraft
from model_store.store import ModelStore
from producer.client import Client


class _Objects(InMemoryObjectStore):
    """Calls `before(operation, key)`, where a test counts or fails; keeps the keys that are put."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: list[str] = []
        self.before: Callable[[str, str], None] = lambda _operation, _key: None

    def get(self, key, *, bucket=None, max_bytes=None):  # noqa: ANN001, ANN202 - as the base
        self.before("get", key)
        return super().get(key, bucket=bucket, max_bytes=max_bytes)

    def put(self, key, data, *, bucket=None):  # noqa: ANN001, ANN202 - as the base
        self.before("put", key)
        self.puts.append(key)
        super().put(key, data, bucket=bucket)

    def put_if_absent(self, key, data):  # noqa: ANN001, ANN202 - as the base
        self.before("put_if_absent", key)
        return super().put_if_absent(key, data)


class _Broker(InMemoryCoordination):
    """Fails in the calls that a test names."""

    failing: tuple[str, ...] = ()

    def server_time(self):  # noqa: ANN202 - as the base
        self._maybe_fail("server_time")
        return super().server_time()

    def open_job(self, job_id: str, *, new: bool = False) -> None:
        self._maybe_fail("open_job")
        super().open_job(job_id, new=new)

    def register_small_jobs(self, jobs, *, queue, window):  # noqa: ANN001, ANN202 - as the base
        self._maybe_fail("register_small_jobs")
        return super().register_small_jobs(jobs, queue=queue, window=window)

    def queue_length(self, queue: str) -> int:
        self._maybe_fail("queue_length")
        return super().queue_length(queue)

    def _maybe_fail(self, method: str) -> None:
        if method in self.failing:
            raise BrokerError("away")


class _Sender(RecordingSender):
    """Fails where a test says so."""

    failing = False

    def enqueue(self, messages, *, together=1):  # noqa: ANN001, ANN202 - as the base
        if self.failing:
            raise BrokerError("away")
        super().enqueue(messages, together=together)


class World:
    """A client, all that it reaches, and a model `m:1` that `m@prod` points to."""

    def __init__(self, **settings: object) -> None:
        self.objects = _Objects()
        self.sender = _Sender()
        self.coordination = _Broker(queue_length=lambda: len(self.sender.messages))
        self.models = ModelStore(objects=self.objects)
        self.publish()
        self.models.promote("m", 1, "prod")
        self.coordination.rebuild_open_jobs([])
        self.objects.puts.clear()
        self.jobs = JobStore(objects=self.objects)
        self.client = self.new_client(**settings)

    def new_client(self, **settings: object) -> Client:
        """Another client of the same deployment."""
        return Client(
            objects=self.objects,
            coordination=self.coordination,
            sender=self.sender,
            settings=Settings(**settings),
        )

    def publish(self, **changes: object) -> None:
        """Publish a version of `m`."""
        draft = {"name": "m", "item_shape": [2, 2], "item_dtype": "uint8", "classes": ["a", "b"]}
        draft = ModelDraft(**{**draft, **changes})
        self.models.publish(
            draft,
            artifact=b"weights",
            golden_inputs=np.zeros((1, *draft.item_shape), draft.item_dtype),
            golden_outputs=np.zeros((1, 2), np.float32),
            check=lambda _artifact: None,
        )

    def stored_inputs(self, manifest: JobManifest) -> list[np.ndarray]:
        """The images of each shard."""
        return [
            from_npy(self.jobs.read_checked(shard.objects[0]), where="here")
            for shard in manifest.shards
        ]

    def requests(self, call: Callable[[], object]) -> Counter[str]:
        """What the call asks of the store."""
        asked: Counter[str] = Counter()
        self.objects.before = lambda operation, key: asked.update(
            [f"{operation} {key.split('/')[0]}"]
        )
        call()
        self.objects.before = lambda _operation, _key: None
        return asked


@pytest.fixture
def new_world() -> type[World]:
    """Makes a world with the settings that the test gives."""
    return World


@pytest.fixture
def world() -> World:
    """With the settings' defaults, by which small inputs are inlined."""
    return World()
