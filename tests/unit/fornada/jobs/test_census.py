"""The census of the store: open jobs, newest jobs, and what it reads to know them."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from fornada import keys, parallel
from fornada.errors import StoreUnavailableError
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_inputs import ShardInput, Shards
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep import census as module
from fornada.jobs.upkeep.census import Census
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.records import ModelPin, ObjectRef
from fornada.testing import HookedObjectStore

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
OWN = "20261128T130000-0123456789"


@pytest.fixture
def jobs() -> JobStore:
    """Three jobs of callers' keys, one of which has ended, and one of an id of ours."""
    store = JobStore(objects=HookedObjectStore())
    shard = ShardInput(objects=[ObjectRef(key="x", size_bytes=1)], item_count=1)
    for minutes, job_id in enumerate(("b", "a", "c", OWN)):
        manifest = JobManifest(
            job_id=job_id,
            model=ModelPin(name="m", version=1, sha256="0" * 64),
            item_shape=[2],
            item_dtype="uint8",
            classes=["a"],
            shards=Shards([shard]),
            max_attempts=3,
            created_at=AT + timedelta(minutes=minutes),
        )
        store.create(manifest)
        if job_id == "a":
            store.finish(manifest, "CANCELLED")
    return store


def test_open_and_newest_jobs_are_found(jobs: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # given room for three, and folders of no job
    monkeypatch.setattr(module, "NEWEST_JOBS", 3)
    jobs.objects.put("jobs/uploading/input/0.npy", b"x")
    jobs.objects.put(keys.JobKeys("foreign").final, b'{"schema_version": 7}')
    census = Census(jobs=jobs, manifests=Manifests(jobs=jobs))

    census.take()

    assert {"b", "c", OWN, "uploading"} == census.open_jobs
    assert {
        OWN: datetime(2026, 11, 28, 13, tzinfo=UTC),
        "c": AT + timedelta(minutes=2),
        "a": AT + timedelta(minutes=1),
    } == census.newest_jobs


def test_what_does_not_change_is_read_once(jobs: JobStore) -> None:
    census = Census(jobs=jobs, manifests=Manifests(jobs=jobs))
    read: list[str] = []
    jobs.objects.before = lambda operation, key: read.append(key) if operation == "get" else None
    census.take()
    assert keys.JobKeys(OWN).manifest not in read
    read.clear()

    census.take()

    assert {keys.JobKeys(job_id).final for job_id in ("b", "c", OWN)} == set(read)


def test_a_purged_job_is_forgotten(jobs: JobStore) -> None:
    census = Census(jobs=jobs, manifests=Manifests(jobs=jobs))
    census.take()
    jobs.delete("a")

    census.take()

    assert {"b", "c", OWN} == census.newest_jobs.keys()


def test_a_census_that_the_store_breaks_off_goes_on_where_it_was(
    jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a store that fails at every 20th get, and needs more for all jobs
    monkeypatch.setattr(parallel, "READ_THREADS", 1)
    for number in range(10):
        job_id = f"ended-{number}"
        manifest = jobs.manifest("b").model_copy(update={"job_id": job_id})
        jobs.create(manifest)
        jobs.finish(manifest, "CANCELLED")
    gets = itertools.count(1)
    census = Census(jobs=jobs, manifests=Manifests(jobs=jobs))

    def fail_sometimes(operation: str, _key: str) -> None:
        if operation == "get" and next(gets) % 20 == 0:
            raise StoreUnavailableError("busy")

    jobs.objects.before = fail_sometimes

    # when
    failed = 0
    for _ in range(10):
        try:
            census.take()
        except StoreUnavailableError:
            failed += 1

    # then
    assert 1 <= failed < 10
    assert {"b", "c", OWN} == census.open_jobs
