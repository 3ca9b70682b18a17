"""Listing the newest jobs reads as many manifests, while Redis knows which they are."""

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest

from fornada import keys
from fornada.coordination.memory import InMemoryCoordination
from fornada.errors import BrokerError
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.jobs.upkeep.reconciler import _ROUNDS_PER_CENSUS, Reconciler
from fornada.records import now
from fornada.settings import Settings
from producer.client import Client
from producer.testing import in_memory_client

IMAGES = np.zeros((1, 2, 2), np.uint8)


class _World:
    """A client with 25 jobs, and a reconciler; counts manifest reads."""

    def __init__(self) -> None:
        self.client: Client = in_memory_client(
            model="m", item_shape=[2, 2], classes=["a", "b"], run_at_once=False
        )
        coordination, objects = self.client._coordination, self.client._jobs.objects
        assert isinstance(coordination, InMemoryCoordination)
        self.coordination = coordination
        self.reconciler = self.new_reconciler()
        self.reconcile()
        # Keys that do not sort by time; of ids of its own, the reconciler knows the second alone.
        self.ids = [f"key-{n * 7 % 25}" for n in range(25)]
        for key in reversed(self.ids):
            self.client.submit(IMAGES, model="m", idempotency_key=key)
        self.read: list[str] = []
        get: Callable = objects.get

        def counted(key: str, **options: object) -> object:
            self.read += [key] if key.endswith("/manifest.json") else []
            return get(key, **options)

        objects.get = counted

    def new_reconciler(self) -> Reconciler:
        jobs = self.client._jobs
        return Reconciler(
            jobs=jobs,
            manifests=Manifests(jobs=jobs),
            recovery=self.coordination,
            sender=self.client._sender,
            settings=Settings(),
            holder="worker",
        )

    def reconcile(self) -> None:
        """What any worker does within a second."""
        self.reconciler.round()

    def listed(self, limit: int | None) -> list[str]:
        self.read.clear()
        return [status.job_id for status in self.client.jobs(limit=limit)]


@pytest.fixture
def world() -> _World:
    return _World()


def test_what_is_no_id_is_not_listed(world: _World) -> None:
    at = now() + timedelta(days=1)
    world.coordination.rebuild_open_jobs([], newest={"../x": at, "\x1b[31m": at})

    assert world.ids[:3] == world.listed(3)


def test_ten_jobs_are_listed_from_ten_manifests(world: _World) -> None:
    own = world.client.submit(IMAGES, model="m")
    ten = [own.id, *world.ids[:9]]

    assert ten == world.listed(10)
    assert sorted(keys.JobKeys(job_id).manifest for job_id in ten) == sorted(world.read)


def test_more_than_there_are_is_all_of_them(world: _World) -> None:
    assert world.ids == world.listed(100)
    assert world.ids == world.listed(None)


def test_without_redis_the_store_tells(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: object, **_options: object) -> None:
        raise BrokerError("away")

    for method in ("newest_jobs", "progress"):
        monkeypatch.setattr(world.coordination, method, away)

    assert world.ids[:10] == world.listed(10)


def test_an_emptied_redis_is_filled_again_by_the_reconciler(world: _World) -> None:
    world.coordination.flush()
    assert world.ids[:10] == world.listed(10)

    # Jobs submitted before the reconciler has been through the store are not taken for all.
    new = world.client.submit(IMAGES, model="m", idempotency_key="new")
    expected = [new.id, *world.ids]
    assert expected[:10] == world.listed(10)

    world.reconcile()

    assert expected[:10] == world.listed(10)
    assert 10 == len(world.read)


def test_a_job_of_a_producer_that_lists_it_as_open_alone_is_found(world: _World) -> None:
    manifest = world.client.job(world.ids[5]).manifest
    foreign = manifest.model_copy(update={"job_id": "foreign", "created_at": now()})
    world.coordination.open_job("foreign")
    world.client._jobs.create(foreign)

    world.reconcile()

    assert ["foreign", *world.ids[:9]] == world.listed(10)


def test_jobs_that_are_gone_are_passed_over(world: _World) -> None:
    # given one job purged, and one that went without Redis being told
    purged, lost, *rest = world.ids
    world.client.job(purged).cancel()
    assert [purged] == world.client.purge(timedelta(0))
    world.client._jobs.delete(lost)

    assert rest[:10] == world.listed(10)
    # Of the one that went, Redis cannot know.
    assert 11 == len(world.read)


@pytest.mark.parametrize("limit", [None, 10])
def test_a_job_that_cannot_be_read_is_listed_as_such(world: _World, limit: int | None) -> None:
    world.client._jobs.objects.put(keys.JobKeys("broken").manifest, b"{}")
    world.client._jobs.objects.put(keys.JobKeys(world.ids[0]).final, b"{}")
    world.coordination.flush()
    for is_known in (False, True):
        # The reconciler finds it, and lists it by the time at which it was written.
        if is_known:
            world.reconcile()

        found = {status.job_id: status for status in world.client.jobs(limit=limit)}

        assert "UNREADABLE" == found["broken"].state
        assert "not a valid JobManifest" in str(found["broken"].reason)
        assert "UNREADABLE" == found[world.ids[0]].state
        assert "not a valid JobFinal" in str(found[world.ids[0]].reason)
        assert "QUEUED" == found[world.ids[1]].state
        assert not found["broken"].ended


def test_jobs_that_were_made_up_in_redis_are_not_read(world: _World) -> None:
    # given jobs that nobody submitted, later than all others
    at = now() + timedelta(days=1)
    made_up = {f"made-up-{number}": at for number in range(1000)}
    world.coordination.rebuild_open_jobs(made_up, newest=made_up)
    own = world.client.submit(IMAGES, model="m")

    assert [own.id, *world.ids[:9]] == world.listed(10)
    assert len(world.read) < 400

    # then the reconciler forgets them, as they are in the store at no census
    for _ in range(2 * _ROUNDS_PER_CENSUS + 1):
        world.reconcile()
    assert [own.id, *world.ids[:9]] == world.listed(10)
    assert 10 == len(world.read)
