"""What `fornada doctor` asks of jobs: which bucket they are in, and which cannot go on."""

from collections.abc import Iterator

from fornada.commands.doctor.finding import Finding
from fornada.coordination.redis import RedisCoordination
from fornada.jobs.bucket_id import BucketCheck
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore

#: Open jobs that are looked at, and those that are named.
_MOST_JOBS = 1000
_MOST_NAMED = 5


def job_findings(settings: Settings, objects: ObjectStore, *, adopt: bool) -> Iterator[Finding]:
    """Whether Redis belongs to the bucket, and which jobs cannot go on.

    Raises:
        ForeignBucketError: Redis belongs to another bucket.
        BrokerError, StoreError: One of them cannot be asked.
    """
    coordination = RedisCoordination.from_settings(settings)
    bucket = BucketCheck.from_settings(settings, objects=objects, coordination=coordination)
    if adopt:
        bucket.adopt()
    bucket.look()
    yield Finding("bucket", "ok", f"Redis belongs to bucket {settings.s3_bucket}")
    for job_id, why in list(coordination.unreadable_jobs().items())[:_MOST_NAMED]:
        yield Finding("jobs", "warn", f"job {job_id} cannot be read: {why}")
    open_jobs = sorted(coordination.open_jobs() or ())[:_MOST_JOBS]
    held_up = coordination.held_up(open_jobs)
    for job_id, processes in list(held_up.items())[:_MOST_NAMED]:
        reasons = "; ".join(sorted(set(processes.values())))
        yield Finding("jobs", "warn", f"no process goes on with job {job_id}: {reasons}")
