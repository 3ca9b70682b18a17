"""Looks at open jobs in the store."""

from typing import Any, cast

from fornada import keys
from fornada.coordination.interface import ShardEnd
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_inputs import ShardInput
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.endings import Endings
from fornada.jobs.upkeep.looks import Looks, OpenJob
from fornada.records import ModelPin, ObjectRef, now
from fornada.storage.memory import InMemoryObjectStore
from fornada.testing import InMemoryCoordination

SHA = "a" * 64


def test_an_outcome_that_is_gone_when_its_job_is_to_end_is_missed_by_the_next_look() -> None:
    item = ObjectRef(key="k", size_bytes=1, sha256=SHA)
    manifest = JobManifest(
        job_id="job",
        model=ModelPin(name="m", version=1, sha256=SHA),
        item_shape=[2],
        item_dtype="uint8",
        classes=["a", "b"],
        shards=[ShardInput(objects=[item], item_count=1)] * 3,
        max_attempts=3,
        created_at=now(),
    )
    objects, coordination = InMemoryObjectStore(), InMemoryCoordination()
    for shard in range(3):
        objects.put(keys.JobKeys("job").outcome(shard), b"{}")
    coordination.mark_done("job", [ShardEnd(shard) for shard in range(3)])

    class GoneMeanwhile:
        def end_if_complete(self, _manifest: JobManifest) -> None:
            objects.delete(keys.JobKeys("job").outcome(1))

    looks = Looks(
        jobs=JobStore(objects=objects),
        recovery=coordination,
        endings=cast("Endings", GoneMeanwhile()),
    )
    job = OpenJob(manifest=manifest)

    def look() -> tuple[bool, Any]:
        return looks.look(job, coordination.progress("job")), coordination.progress("job").done

    assert (True, {0, 1, 2}) == look()
    assert (False, {0, 2}) == look()
