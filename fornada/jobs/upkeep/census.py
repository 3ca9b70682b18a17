"""What the store knows of all jobs: which are open, and which are the newest."""

import heapq
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from fornada.coordination.interface import NEWEST_JOBS
from fornada.errors import JobNotFoundError, MessageError, StoreError
from fornada.jobs.ids import submitted_at
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.logs import get_logger
from fornada.parallel import in_parallel
from fornada.repeated import Repeated

log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """What was found of a job; neither changes once it has ended."""

    ended: bool
    #: `None` while there is no manifest.
    submitted_at: datetime | None


class Census:
    """Goes through all jobs in the store, and reads those that ended once."""

    def __init__(self, *, jobs: JobStore, manifests: Manifests) -> None:
        self._jobs = jobs
        self._manifests = manifests
        self._found: dict[str, _Job] = {}
        self._repeated = Repeated()

    def take(self) -> None:
        """Look at every job that had not ended at the last census.

        Raises:
            StoreError: The store cannot be reached.
        """
        job_ids = self._jobs.job_ids()
        found = {job_id: self._found[job_id] for job_id in job_ids if job_id in self._found}
        rest = [job_id for job_id in job_ids if job_id not in found or not found[job_id].ended]
        self._found = found
        for job_id, job in zip(rest, in_parallel(self._look, rest), strict=True):
            # Where the store fails half-way, the next census goes on from there.
            found[job_id] = job  # noqa: PERF403 - kept one by one

    @property
    def job_ids(self) -> AbstractSet[str]:
        """All jobs."""
        return self._found.keys()

    @property
    def open_jobs(self) -> set[str]:
        """Jobs that have no end, and those that were never submitted."""
        return {job_id for job_id, job in self._found.items() if not job.ended}

    @property
    def newest_jobs(self) -> dict[str, datetime]:
        """The newest jobs → when they were submitted, at least to the second."""
        times = {j: job.submitted_at for j, job in self._found.items() if job.submitted_at}
        return dict(heapq.nlargest(NEWEST_JOBS, times.items(), key=lambda found: found[1]))

    def _look(self, job_id: str) -> _Job:
        ended = self._has_ended(job_id)
        at = self._found[job_id].submitted_at if job_id in self._found else None
        return _Job(ended=ended, submitted_at=at or self._submitted_at(job_id, ended=ended))

    def _has_ended(self, job_id: str) -> bool:
        try:
            return self._jobs.final(job_id) is not None
        except MessageError as exc:
            what = "job's end cannot be read"
            self._repeated.log(log.error, what, about=job_id, job_id=job_id, error=str(exc))
            return True
        except StoreError as exc:
            if exc.fault == "transient":
                raise
            # The store refuses this job's objects: it is open, until somebody sees more of it.
            return False

    def _submitted_at(self, job_id: str, *, ended: bool) -> datetime | None:
        at = submitted_at(job_id)
        if at is not None:
            return at
        # The cache is for jobs that are still at work.
        read = self._jobs.manifest if ended else self._manifests.get
        try:
            return read(job_id).created_at
        except JobNotFoundError:
            return None
        except MessageError:
            return self._jobs.manifest_written_at(job_id)
        except StoreError as exc:
            if exc.fault == "transient":
                raise
            return None
