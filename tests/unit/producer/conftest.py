"""A client in memory, and all that it reaches."""

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
from model_store.store import ModelStore
from producer.client import Client

from ...deployment import publish_unloadable


class _Objects(InMemoryObjectStore):
    """Calls `before(operation, key)`, where a test may fail; keeps the keys that are put."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: list[str] = []
        self.before: Callable[[str, str], None] = lambda _operation, _key: None

    def put(self, key, data, *, bucket=None):  # noqa: ANN001, ANN202 - as the base
        self.before("put", key)
        self.puts.append(key)
        super().put(key, data, bucket=bucket)

    def put_if_absent(self, key, data):  # noqa: ANN001, ANN202 - as the base
        self.before("put_if_absent", key)
        return super().put_if_absent(key, data)


def away(*_args: object, **_options: object) -> None:
    """In place of a method of Redis's that cannot be reached."""
    raise BrokerError("away")


class World:
    """A client, all that it reaches, and a model `m:1` that `m@prod` points to."""

    def __init__(self, **settings: object) -> None:
        self.objects = _Objects()
        self.sender = RecordingSender()
        self.coordination = InMemoryCoordination(queue_length=lambda: len(self.sender.messages))
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

    def lose_broker(self, *methods: str) -> None:
        """Make these methods of the coordination fail."""
        for method in methods:
            setattr(self.coordination, method, away)

    def publish(self, **changes: object) -> None:
        """Publish a version of `m`."""
        signature = {"item_shape": [2, 2], "classes": ["a", "b"], **changes}
        publish_unloadable(self.objects, "m", **signature)

    def stored_inputs(self, manifest: JobManifest) -> list[np.ndarray]:
        """The images of each shard."""
        return [
            from_npy(self.jobs.read_checked(shard.objects[0]), where="here")
            for shard in manifest.shards
        ]


@pytest.fixture
def new_world() -> type[World]:
    """Makes a world with the settings that the test gives."""
    return World


@pytest.fixture
def world() -> World:
    """With the settings' defaults, by which small inputs are inlined."""
    return World()
