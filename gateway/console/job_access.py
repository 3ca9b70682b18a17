"""Jobs as pages read them: a page that stays open asks again every few seconds."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Request

from fornada import keys
from fornada.coordination.interface import Progress
from fornada.coordination.job_index.interface import Position
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobFinal
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.manifest_cache import Manifests
from gateway.auth.principal import Principal
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from producer.job import Job
from producer.job_status import JobStatus, ended_status, open_status
from producer.listing.pages import JobFilter, JobPage

_T = TypeVar("_T")

#: An answer is given again for this long, and ten times as long as it took to find.
_FRESH_S, _TIMES_AS_LONG = 0.5, 10.0
_KEPT = 64
#: Of the pages of the list.
_KEPT_MANIFESTS = 512


class Recent(Generic[_T]):
    """Answers that several pages ask for at the same time. Safe to share between threads."""

    def __init__(self, *, kept: int = _KEPT, fresh_s: float = _FRESH_S) -> None:
        self._found: OrderedDict[Hashable, tuple[_T, float]] = OrderedDict()
        self._looking: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()
        self._kept = kept
        self._fresh_s = fresh_s

    def get(self, key: Hashable, find: Callable[[], _T], *, for_ever: bool = False) -> _T:
        """What `find` gives, now or a moment ago.

        Args:
            key: What is asked.
            find: Finds it; one thread at a time.
            for_ever: Whether it never changes.
        """
        with self._lock:
            looking = self._looking.setdefault(key, threading.Lock())
        with looking:
            with self._lock:
                found, until_s = self._found.get(key, (None, 0.0))
            if found is not None and time.monotonic() < until_s:
                return found
            began_s = time.monotonic()
            found = find()
            took_s = time.monotonic() - began_s
            fresh_s = float("inf") if for_ever else max(self._fresh_s, _TIMES_AS_LONG * took_s)
            with self._lock:
                self._found[key] = (found, time.monotonic() + fresh_s)
                self._found.move_to_end(key)
                while len(self._found) > self._kept:
                    dropped, _ = self._found.popitem(last=False)
                    self._looking.pop(dropped, None)
        return found

    def forget(self, key: Hashable) -> None:
        """Find an answer anew the next time."""
        with self._lock:
            self._found.pop(key, None)


class View:
    """A job now: its manifest, its end or its progress."""

    def __init__(self, manifest: JobManifest, now: JobFinal | Progress) -> None:
        self.manifest = manifest
        self.final = now if isinstance(now, JobFinal) else None
        self.progress = now if isinstance(now, Progress) else None

    @cached_property
    def starts(self) -> list[int]:
        """The number of each shard's first item."""
        return self.manifest.shards.starts

    @property
    def status(self) -> JobStatus:
        """Its state."""
        if self.final is not None:
            return ended_status(self.manifest, self.final)
        return open_status(self.manifest, self.progress or Progress(done=set()))


class JobAccess:
    """Finds jobs for those who may see them. Safe to share between threads."""

    def __init__(self, *, deployment: Deployment) -> None:
        self._client = deployment.client
        #: The objects of jobs, and what their manifests name.
        self.store = JobStore(objects=deployment.objects, prefixes=deployment.prefixes)
        self._manifests = Manifests(jobs=self.store, kept_jobs=_KEPT_MANIFESTS)
        self._now: Recent[JobFinal | Progress] = Recent()

    def manifest(self, job_id: str, principal: Principal) -> JobManifest:
        """The job's manifest.

        Raises:
            ForbiddenError: The key has no scope for jobs.
            JobNotFoundError: There is no such job, or not for this caller.
        """
        principal.require(Scope.JOBS_READ)
        manifest = self._manifests.get(keys.check_name("job id", job_id))
        principal.require_job(manifest)
        return manifest

    def page(self, wanted: JobFilter, *, before: Position | None, limit: int) -> JobPage:
        """The newest jobs that are wanted, as `Client.page`.

        Raises:
            BrokerError, StoreError: Redis or the store cannot be reached.
        """
        return self._client.page(
            wanted, before=before, limit=limit, manifest_of=self._manifests.get
        )

    def job(self, job_id: str, principal: Principal) -> Job:
        """The job.

        Raises:
            ForbiddenError, JobNotFoundError: As `manifest`.
        """
        return self._client.job_of(self.manifest(job_id, principal))

    def view(self, job_id: str, principal: Principal) -> View:
        """The job now.

        Raises:
            ForbiddenError, JobNotFoundError: As `manifest`.
        """
        manifest = self.manifest(job_id, principal)

        def look() -> JobFinal | Progress:
            return self.store.end_of(manifest) or self._client.job_of(manifest).progress()

        return View(manifest, self._now.get(job_id, look))

    def forget(self, job_id: str) -> None:
        """Look anew at a job that was changed."""
        self._now.forget(job_id)


def jobs_of(request: Request) -> JobAccess:
    """The jobs of the console that a request is for."""
    jobs: JobAccess = request.app.state.jobs
    return jobs


TheJobs = Annotated[JobAccess, Depends(jobs_of)]
