"""A worker holds each manifest once, however many of its threads ask."""

import threading
from collections.abc import Iterator

import pytest

from fornada.errors import JobNotFoundError
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_inputs import ShardInput, Shards
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep import manifest_cache as module
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.records import ModelPin, ObjectRef, now
from fornada.storage.memory import InMemoryObjectStore


class _SlowStore(JobStore):
    """Counts reads, and ends none before it is told."""

    def __init__(self) -> None:
        super().__init__(objects=InMemoryObjectStore())
        self.reads: list[str] = []
        self.go_on = threading.Event()

    def manifest(self, job_id: str) -> JobManifest:
        self.reads.append(job_id)
        assert self.go_on.wait(30)
        return super().manifest(job_id)


@pytest.fixture
def jobs() -> Iterator[_SlowStore]:
    store = _SlowStore()
    yield store
    store.go_on.set()


def _create(jobs: JobStore, job_id: str, shard_count: int = 1) -> JobManifest:
    shard = ShardInput(objects=[ObjectRef(key="x", size_bytes=1)], item_count=1)
    return jobs.create(
        JobManifest(
            job_id=job_id,
            model=ModelPin(name="m", version=1, sha256="0" * 64),
            item_shape=[2],
            item_dtype="uint8",
            classes=["a"],
            shards=Shards([shard] * shard_count),
            max_attempts=3,
            created_at=now(),
        )
    )


def test_threads_that_ask_at_once_share_one_reading(jobs: _SlowStore) -> None:
    # given
    manifest = _create(jobs, "job")
    manifests = Manifests(jobs=jobs)
    found: list[JobManifest] = []
    threads = [
        threading.Thread(target=lambda: found.append(manifests.get("job"))) for _ in range(8)
    ]

    # when
    for thread in threads:
        thread.start()
    jobs.go_on.set()
    for thread in threads:
        thread.join(30)

    # then
    assert [manifest] * 8 == found
    assert ["job"] == jobs.reads


def test_a_reading_that_failed_is_tried_again(jobs: _SlowStore) -> None:
    # given
    jobs.go_on.set()
    manifests = Manifests(jobs=jobs)
    with pytest.raises(JobNotFoundError):
        manifests.get("job")

    # when
    manifest = _create(jobs, "job")

    # then
    assert manifest == manifests.get("job")


def test_what_was_not_asked_for_longest_is_dropped(jobs: _SlowStore) -> None:
    # given room for two jobs
    jobs.go_on.set()
    manifests = Manifests(jobs=jobs, kept_jobs=2)
    for job_id in "abc":
        _create(jobs, job_id)

    # when
    for job_id in "abacab":
        manifests.get(job_id)

    # then
    assert list("abcb") == jobs.reads


def test_many_shards_leave_room_for_no_other_job(
    jobs: _SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given room for ten shards
    jobs.go_on.set()
    monkeypatch.setattr(module, "_KEPT_SHARDS", 10)
    manifests = Manifests(jobs=jobs)
    _create(jobs, "small", 4)
    _create(jobs, "large", 20)

    # when
    for job_id in ("small", "large", "large", "small"):
        manifests.get(job_id)

    # then
    assert ["small", "large", "small"] == jobs.reads


def test_a_manifest_that_was_replaced_is_read_again(jobs: _SlowStore) -> None:
    # given a caller's id that was submitted again after its job was purged
    jobs.go_on.set()
    manifests = Manifests(jobs=jobs)
    _create(jobs, "orders-1")
    first = manifests.get("orders-1")
    jobs.delete("orders-1")
    with pytest.raises(JobNotFoundError):
        manifests.get("orders-1")

    second = _create(jobs, "orders-1", shard_count=2)

    assert first != second == manifests.get("orders-1")
