"""List jobs: the newest as Redis lists them, otherwise as the store has them."""

from collections.abc import Callable
from datetime import datetime

from fornada.coordination.interface import OpenJobs
from fornada.errors import BrokerError, JobNotFoundError, MessageError
from fornada.jobs.ids import submitted_at
from fornada.jobs.store import JobStore
from fornada.keys import is_name
from fornada.logs import get_logger
from fornada.parallel import in_parallel
from producer.job_status import JobStatus

log = get_logger(__name__)

StatusOf = Callable[[str], JobStatus | None]

#: Jobs that Redis lists and that do not exist; with more, the store is asked what there is.
_MOST_MISSED = 256


def list_jobs(
    limit: int | None, *, jobs: JobStore, open_jobs: OpenJobs, status_of: StatusOf
) -> list[JobStatus]:
    """The statuses of the newest `limit` jobs, or of all, newest first.

    Reads only the manifests of `limit` jobs if Redis lists that many, otherwise also those of all
    jobs of callers' ids.

    Args:
        limit: How many; `None` for all.
        jobs: The store.
        open_jobs: Redis.
        status_of: Reads a job's status; `None` if there is no such job.
    """
    if limit is None:
        every = in_parallel(status_of, jobs.job_ids())
        statuses = [status for status in every if status is not None]
    else:
        listed = _listed_by_redis(limit, open_jobs, status_of)
        statuses = _newest(limit, jobs, status_of) if listed is None else listed
    return sorted(statuses, key=lambda status: status.created_at, reverse=True)[:limit]


def _listed_by_redis(
    count: int, open_jobs: OpenJobs, status_of: StatusOf
) -> list[JobStatus] | None:
    """The newest `count` jobs; `None` if Redis does not list as many, or too many others."""
    found: dict[str, JobStatus] = {}
    asked = 0
    try:
        while len(found) < count:
            page = open_jobs.newest_jobs(count - len(found), skip=asked)
            asked += len(page)
            if not page or asked - len(page) - len(found) > _MOST_MISSED:
                return None
            # Others may have put there what is no id.
            statuses = in_parallel(status_of, [job_id for job_id in page if is_name(job_id)])
            found |= {status.job_id: status for status in statuses if status is not None}
    except BrokerError as exc:
        log.warning("jobs are listed from the store", error=str(exc))
        return None
    return list(found.values())


def _newest(count: int, jobs: JobStore, status_of: StatusOf) -> list[JobStatus]:
    """The newest jobs of the store: `count`, and those as old as the last one, to the second."""
    seconds = _submitted(jobs)
    job_ids = sorted(seconds, key=seconds.__getitem__, reverse=True)
    found: list[JobStatus] = []
    begin = 0
    while begin < len(job_ids) and len(found) < count:
        end = begin + count - len(found)
        while end < len(job_ids) and seconds[job_ids[end]] == seconds[job_ids[end - 1]]:
            end += 1
        some = in_parallel(status_of, job_ids[begin:end])
        found += [status for status in some if status is not None]
        begin = end
    return found


def _submitted(jobs: JobStore) -> dict[str, int]:
    """Job of the store → when it was submitted, in seconds."""
    times = {job_id: submitted_at(job_id) for job_id in jobs.job_ids()}
    own = [job_id for job_id, at in times.items() if at is None]
    read = in_parallel(lambda job_id: _read_time(job_id, jobs), own)
    times |= dict(zip(own, read, strict=True))
    return {job_id: int(at.timestamp()) for job_id, at in times.items() if at is not None}


def _read_time(job_id: str, jobs: JobStore) -> datetime | None:
    try:
        return jobs.manifest(job_id).created_at
    except JobNotFoundError:
        # It was never submitted.
        return None
    except MessageError:
        return jobs.manifest_written_at(job_id)
