"""List jobs: the newest as Redis lists them, otherwise as the store has them."""

import heapq
from collections.abc import Callable

from fornada.coordination.interface import OpenJobs
from fornada.errors import BrokerError, JobNotFoundError, MessageError
from fornada.jobs.store import JobStore
from fornada.keys import is_name
from fornada.logs import get_logger
from fornada.parallel import in_parallel
from producer.job_status import JobStatus

log = get_logger(__name__)


def list_jobs(
    limit: int | None,
    *,
    jobs: JobStore,
    open_jobs: OpenJobs,
    status_of: Callable[[str], JobStatus | None],
) -> list[JobStatus]:
    """The statuses of the newest `limit` jobs, or of all, newest first.

    Reads only the manifests of `limit` jobs if Redis lists that many, otherwise those of all jobs.

    Args:
        limit: How many; `None` for all.
        jobs: The store.
        open_jobs: Redis.
        status_of: Reads a job's status; `None` if there is no such job.
    """
    statuses = None if limit is None else _listed_by_redis(limit, open_jobs, status_of)
    if statuses is None:
        job_ids = jobs.job_ids() if limit is None else _newest_ids(limit, jobs)
        statuses = [status for status in in_parallel(status_of, job_ids) if status is not None]
    return sorted(statuses, key=lambda status: status.created_at, reverse=True)


def _listed_by_redis(
    count: int, open_jobs: OpenJobs, status_of: Callable[[str], JobStatus | None]
) -> list[JobStatus] | None:
    """The newest `count` jobs; `None` if Redis does not list as many."""
    found: dict[str, JobStatus] = {}
    asked = 0
    try:
        while len(found) < count:
            page = open_jobs.newest_jobs(count - len(found), skip=asked)
            if not page:
                return None
            asked += len(page)
            # Others may have put there what is no id.
            statuses = in_parallel(status_of, [job_id for job_id in page if is_name(job_id)])
            found |= {status.job_id: status for status in statuses if status is not None}
    except BrokerError as exc:
        log.warning("jobs are listed from the store", error=str(exc))
        return None
    return list(found.values())


def _newest_ids(count: int, jobs: JobStore) -> list[str]:
    job_ids = jobs.job_ids()
    if len(job_ids) <= count:
        return job_ids

    def submitted_s(job_id: str) -> float:
        try:
            return jobs.manifest(job_id).created_at.timestamp()
        except JobNotFoundError:
            # It was never submitted.
            return 0.0
        except MessageError:
            at = jobs.manifest_written_at(job_id)
            return at.timestamp() if at else 0.0

    times = zip(in_parallel(submitted_s, job_ids), job_ids, strict=True)
    return [job_id for at_s, job_id in heapq.nlargest(count, times) if at_s]
