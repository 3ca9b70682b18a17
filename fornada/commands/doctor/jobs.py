"""What `fornada doctor` asks of jobs: which bucket they are in, and which cannot go on."""

from collections.abc import Iterator

from fornada.commands.doctor.finding import Finding
from fornada.coordination.redis import RedisCoordination
from fornada.jobs.bucket_id import BucketCheck
from fornada.jobs.store import JobStore
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore

#: Open jobs that are looked at, and those that are named.
_MOST_JOBS = 1000
_MOST_NAMED = 5
#: Open jobs that are believed without asking the store which of them it has.
_FEW_JOBS = 256
_MADE_UP = (
    "jobs are listed as open in Redis and are not in the store; workers forget them after ten "
    "minutes; if they come again, find out who else writes to Redis"
)


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
    open_jobs = coordination.open_jobs() or set()
    if len(open_jobs) > _FEW_JOBS:
        listed = len(open_jobs)
        open_jobs = JobStore(objects=objects).stored(open_jobs)
        if listed - len(open_jobs) > _FEW_JOBS:
            yield Finding("jobs", "warn", f"{listed - len(open_jobs)} {_MADE_UP}")
    if len(open_jobs) > _MOST_JOBS:
        fact = f"{len(open_jobs)} jobs are open; {_MOST_JOBS} are looked at"
        yield Finding("jobs", "ok", fact)
    held_up = coordination.held_up(sorted(open_jobs)[:_MOST_JOBS])
    for job_id, processes in list(held_up.items())[:_MOST_NAMED]:
        reasons = "; ".join(sorted(set(processes.values())))
        yield Finding("jobs", "warn", f"no process goes on with job {job_id}: {reasons}")
