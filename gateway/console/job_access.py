"""Jobs as pages read them: a page that stays open asks again every few seconds."""

from dataclasses import replace
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request

from fornada import keys
from fornada.coordination.interface import Progress
from fornada.coordination.job_index.interface import Position
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobFinal
from fornada.jobs.store import JobStore
from gateway.auth.principal import Principal
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from gateway.recent import Recent
from producer.job import Job
from producer.job_status import JobStatus, ended_status
from producer.listing.pages import JobFilter, JobPage


class View:
    """A job now: its manifest, its end or its progress."""

    def __init__(self, job: Job, now: JobFinal | Progress) -> None:
        self._job = job
        self.manifest = job.manifest
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
        return self._job.looks().status(self.progress or Progress(done=set()))


class JobAccess:
    """Finds jobs for those who may see them. Safe to share between threads."""

    def __init__(self, *, deployment: Deployment) -> None:
        self._client = deployment.client
        self._exact_model = deployment.exact_model
        #: The objects of jobs, and what their manifests name.
        self.store = JobStore(objects=deployment.objects, prefixes=deployment.prefixes)
        self._manifests = deployment.manifests
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
            ModelNotFoundError: They are of an alias that there is not.
            BrokerError, StoreError: Redis or the store cannot be reached.
        """
        wanted = replace(wanted, model=self._exact_model(wanted.model))
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
        job = self.job(job_id, principal)

        def look() -> JobFinal | Progress:
            return self.store.end_of(job.manifest) or job.progress()

        return View(job, self._now.get(job_id, look))

    def forget(self, job_id: str) -> None:
        """Look anew at a job that was changed."""
        self._now.forget(job_id)


def jobs_of(request: Request) -> JobAccess:
    """The jobs of the console that a request is for."""
    jobs: JobAccess = request.app.state.jobs
    return jobs


TheJobs = Annotated[JobAccess, Depends(jobs_of)]
