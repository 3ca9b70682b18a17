"""Delete jobs by age."""

import re
from datetime import datetime, timedelta

from fornada import keys
from fornada.coordination.interface import Coordination, OpenJobs
from fornada.errors import (
    BrokerError,
    JobNotFoundError,
    JobStateError,
    MessageError,
    UsageError,
)
from fornada.jobs.manifest import JobManifest
from fornada.jobs.store import JobStore
from fornada.logs import get_logger
from producer.upkeep.retry import is_retry_id, retry_id
from producer.upkeep.uploads import delete_upload_of, purge_uploads
from producer.upkeep.verification import is_verification

log = get_logger(__name__)

#: Age of an upload without a job from which it counts as abandoned; streams may pause.
_ABANDONED_AFTER = timedelta(days=1)
#: A longer id has no room for what a retry adds.
_LONGEST_RETRIED = 122
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_age(text: str) -> timedelta:
    """`90m`, `12h`, `30d` or `2w` as a duration.

    Raises:
        UsageError: It is not a duration.
    """
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if match is None:
        raise UsageError(f"{text!r} is not an age; write a number and m, h, d or w, such as 30d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def purge(jobs: JobStore, open_jobs: OpenJobs, *, older_than: timedelta) -> list[str]:
    """Delete jobs that ended longer ago than `older_than`; return their ids.

    Only the store's clock counts, for now and for when a job's end was written: those of the caller
    and of workers may be wrong. Open jobs are never deleted, nor a job whose items and ids an open
    verification reads, or a retry that is kept. Uploads that never became a job are deleted too.
    """
    at = jobs.objects.server_time()
    limit = at - older_than
    old: list[str] = []
    in_use: set[str] = set()
    for job_id in jobs.job_ids():
        try:
            ended_at = _ended_at(jobs, job_id)
            if ended_at is not None and ended_at < limit and jobs.final(job_id) is not None:
                old.append(job_id)
            elif ended_at is None or is_retry_id(job_id):
                in_use.update(jobs.inputs.sources(jobs.manifest(job_id)))
        except JobNotFoundError:
            if _is_abandoned(jobs, job_id, limit=min(limit, at - _ABANDONED_AFTER)):
                old.append(job_id)
        except MessageError:  # not readable by this version
            continue
    purged = [job_id for job_id in old if job_id not in in_use]
    for job_id in purged:
        jobs.delete(job_id)
    purge_uploads(jobs, limit=min(limit, at - _ABANDONED_AFTER))
    try:
        open_jobs.drop_jobs(purged)
    except BrokerError as exc:
        log.warning("jobs deleted, Redis not told", jobs=len(purged), error=str(exc))
    return purged


def delete_job(manifest: JobManifest, *, jobs: JobStore, coordination: Coordination) -> None:
    """Delete an ended job.

    Raises:
        JobStateError: It is open, or another job reads its items.
    """
    job_id = manifest.job_id
    if jobs.final(job_id) is None:
        raise JobStateError(f"job {job_id} is open; cancel it, or wait for it, then delete it")
    readers = {retry_id(job_id)} if len(job_id) <= _LONGEST_RETRIED else set()
    readers |= {job for job in coordination.open_jobs() or () if is_verification(job, of=job_id)}
    for reader in sorted(readers):
        try:
            jobs.require(reader)
        except JobNotFoundError:
            continue
        raise JobStateError(f"job {reader} reads the items of job {job_id}; delete that one first")
    delete_upload_of(manifest, jobs=jobs)
    jobs.delete(job_id)
    try:
        coordination.drop_jobs([job_id])
        if manifest.owner is not None:
            coordination.forget_owned(manifest.owner, job_id)
    except BrokerError as exc:
        log.warning("job deleted, Redis not told", job_id=job_id, error=str(exc))


def _ended_at(jobs: JobStore, job_id: str) -> datetime | None:
    """When the job's end was written, by the store's clock; `None` while it is open."""
    key = keys.JobKeys(job_id).final
    return next((i.modified_at for i in jobs.objects.list(key) if i.key == key), None)


def _is_abandoned(jobs: JobStore, job_id: str, *, limit: datetime) -> bool:
    """Whether an upload without a manifest has no object since `limit`."""
    found = jobs.objects.list(keys.JobKeys(job_id).prefix)
    return max((info.modified_at for info in found), default=limit) < limit
