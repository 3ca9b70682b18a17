"""A version that nothing needs is deleted, and its number is not reused."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fornada import keys
from fornada.errors import ModelNotFoundError, UsageError
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_inputs import ShardInput
from fornada.jobs.store import JobStore
from fornada.records import ObjectRef
from fornada.storage.memory import InMemoryObjectStore
from model_store.manifest import ModelManifest
from model_store.removal import delete_version
from model_store.store import ModelStore

_AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def jobs(memory_objects: InMemoryObjectStore) -> JobStore:
    return JobStore(objects=memory_objects)


def _submit(jobs: JobStore, model: ModelManifest) -> JobManifest:
    shard = ShardInput(objects=[ObjectRef(key="x", size_bytes=1)], item_count=1)
    return jobs.create(
        JobManifest(
            job_id="job",
            model=model.pin,
            item_shape=[2],
            item_dtype="uint8",
            classes=["a", "b"],
            shards=[shard],
            max_attempts=1,
            created_at=_AT,
        )
    )


def test_only_the_claim_is_left(models: ModelStore, jobs: JobStore, publish: Any) -> None:
    # given
    publish()
    doomed = publish()

    # when
    count = delete_version(doomed, models=models, jobs=jobs)

    # then
    assert 5 == count
    left = [info.key for info in models.objects.list(keys.ModelKeys("m").version(2).prefix)]
    assert [keys.ModelKeys("m").version(2).claim] == left
    assert [1] == models.versions("m")
    with pytest.raises(ModelNotFoundError, match="no version 2"):
        models.resolve("m:2")
    assert 3 == publish().version


def test_the_target_of_an_alias_is_not_deleted(
    models: ModelStore, jobs: JobStore, publish: Any
) -> None:
    needed = publish()
    models.promote("m", 1, "prod")
    models.promote("m", 1, "blue")

    with pytest.raises(UsageError, match="m:1 is what @blue, @prod points at; promote another"):
        delete_version(needed, models=models, jobs=jobs)

    assert needed == models.resolve("m:1")


def test_the_model_of_an_open_job_is_not_deleted_before_the_job_ends(
    models: ModelStore, jobs: JobStore, publish: Any
) -> None:
    # given
    needed, other = publish(), publish(artifact=b"other")
    job = _submit(jobs, needed)

    # when
    with pytest.raises(UsageError, match="needed by 1 jobs that have not ended, such as job"):
        delete_version(needed, models=models, jobs=jobs)
    delete_version(other, models=models, jobs=jobs)
    jobs.finish(job, "CANCELLED", "enough")
    delete_version(needed, models=models, jobs=jobs)

    # then
    assert [] == models.versions("m")


def test_a_job_without_a_manifest_does_not_protect_its_model(
    models: ModelStore, jobs: JobStore, publish: Any
) -> None:
    doomed = publish()
    models.objects.put(keys.JobKeys("lost").input(0, "0" * 64), b"")

    delete_version(doomed, models=models, jobs=jobs)

    assert [] == models.versions("m")
