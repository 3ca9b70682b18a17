"""A request for a page of a job, and what such pages read it with."""

from functools import cached_property
from typing import Annotated, Any

from fastapi import Depends
from fastapi.responses import HTMLResponse

from fornada.errors import JobNotFoundError
from fornada.jobs.manifest import JobManifest
from gateway.auth.callers import TheDeployment
from gateway.auth.scopes import Scope
from gateway.console.items.cards import Cards
from gateway.console.items.survey import Survey, Surveys
from gateway.console.job_access import TheJobs, View
from gateway.console.job_pages.training_shares import TrainingShares
from gateway.console.viewers import TheVisit
from gateway.webhooks.errors import WebhookNotFoundError
from gateway.webhooks.outbox import JobWebhook


class JobVisit:
    """A request of someone who may see the job."""

    def __init__(
        self, job_id: str, visit: TheVisit, jobs: TheJobs, deployment: TheDeployment
    ) -> None:
        state = visit.request.app.state
        self.job_id = job_id
        self.visit = visit
        self.principal = visit.principal
        self.jobs = jobs
        self.cards: Cards = state.cards
        self._webhooks = deployment.webhooks
        self._surveys: Surveys = state.surveys
        self._training_shares: TrainingShares = state.training_shares

    @cached_property
    def manifest(self) -> JobManifest:
        """The job's manifest.

        Raises:
            ForbiddenError, JobNotFoundError: As `JobAccess.manifest`.
        """
        return self.jobs.manifest(self.job_id, self.principal)

    @cached_property
    def view(self) -> View:
        """The job now.

        Raises:
            ForbiddenError, JobNotFoundError: As `JobAccess.view`.
        """
        return self.jobs.view(self.job_id, self.principal)

    @cached_property
    def results(self) -> View:
        """The job now, for those who may read its items and results.

        Raises:
            ForbiddenError, JobNotFoundError: As `view`.
        """
        self.principal.require(Scope.RESULTS_READ)
        return self.view

    @property
    def survey(self) -> Survey:
        """What a part of its outcomes says of all."""
        return self._surveys.of(self.results)

    @property
    def training_shares(self) -> dict[str, float]:
        """The share of each class among the items that the model learned from, if known."""
        return self._training_shares.of(self.manifest.model)

    @cached_property
    def webhook(self) -> JobWebhook | None:
        """Who is told of its end, and how that went; `None` for nobody."""
        if self.manifest.webhook is None:
            return None
        try:
            return self._webhooks.newest(self.job_id)
        except WebhookNotFoundError:
            return None

    def change(self) -> JobManifest:
        """The manifest, for those who may change the job.

        Raises:
            ForbiddenError, JobNotFoundError: As `view`.
        """
        self.principal.require(Scope.JOBS_WRITE)
        return self.manifest

    def not_found(self, what: str) -> JobNotFoundError:
        """The error of a part that the job does not have."""
        return JobNotFoundError(f"job {self.job_id} has no {what}")

    def render(self, template: str, **values: Any) -> HTMLResponse:
        """A page of the job."""
        return self.visit.render(
            template, manifest=self.manifest, status=self.view.status, **values
        )


TheJobVisit = Annotated[JobVisit, Depends(JobVisit)]
