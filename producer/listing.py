"""The newest jobs: as Redis lists them, or else as the store has them."""

import heapq
from collections.abc import Callable

from fornada.coordination.interface import OpenJobs
from fornada.errors import BrokerError, JobNotFoundError, MessageError
from fornada.jobs.store import JobStore
from fornada.logs import get_logger
from fornada.parallel import in_parallel
from producer.job_status import JobStatus

log = get_logger(__name__)


def newest_jobs(
    count: int,
    *,
    jobs: JobStore,
    open_jobs: OpenJobs,
    status_of: Callable[[str], JobStatus | None],
) -> list[JobStatus]:
    """The statuses of the newest `count` jobs, in no order.

    Reads as many manifests where Redis lists enough jobs, and else those of all jobs.

    Args:
        count: Most jobs wanted.
        jobs: The store.
        open_jobs: Redis.
        status_of: Reads a job's status; `None` where there is no such job.
    """
    found: dict[str, JobStatus] = {}
    asked = 0
    try:
        while len(found) < count:
            page = open_jobs.newest_jobs(count - len(found), skip=asked)
            if not page:
                break
            asked += len(page)
            statuses = in_parallel(status_of, page)
            found |= {status.job_id: status for status in statuses if status is not None}
    except BrokerError as exc:
        log.warning("jobs are listed from the store", error=str(exc))
    if len(found) == count:
        return list(found.values())
    newest = _newest_ids(count, jobs)
    return [status for status in in_parallel(status_of, newest) if status is not None]


def _newest_ids(count: int, jobs: JobStore) -> list[str]:
    job_ids = jobs.job_ids()
    if len(job_ids) <= count:
        return job_ids

    def submitted_s(job_id: str) -> float:
        try:
            return jobs.manifest(job_id).created_at.timestamp()
        except (JobNotFoundError, MessageError):  # never submitted, or not ours to read
            return 0.0

    times = zip(in_parallel(submitted_s, job_ids), job_ids, strict=True)
    return [job_id for at_s, job_id in heapq.nlargest(count, times) if at_s]
