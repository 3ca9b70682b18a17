"""`/`: the jobs, newest first."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from fornada.errors import JobNotFoundError, MessageError
from fornada.jobs.outcome import JobState
from gateway.auth.callers import TheDeployment
from gateway.auth.principal import Principal
from gateway.auth.scopes import Scope
from gateway.console.job_access import JobAccess, TheJobs
from gateway.console.viewers import TheVisit
from producer.job_status import JobStatus

router = APIRouter()

_PAGE_JOBS = 25
_MOST_JOBS = 1000


class Filters(BaseModel):
    """Which jobs a page shows, as its address says."""

    state: str = ""
    model: str = ""
    tag: str = ""
    skip: int = Field(ge=0, le=_MOST_JOBS, default=0)

    def take(self, status: JobStatus) -> bool:
        """Whether they let a job pass."""
        name, _, value = self.tag.partition("=")
        has_tag = not self.tag or (
            name in status.tags and (not value or status.tags[name] == value)
        )
        of_model = not self.model or self.model in {status.model, status.model.partition(":")[0]}
        return has_tag and of_model and (not self.state or status.state == self.state)

    def address(self, **changed: object) -> str:
        """The page with other filters."""
        values = {"state": self.state, "model": self.model, "tag": self.tag, "skip": self.skip}
        query = urlencode({name: v for name, v in (values | changed).items() if v})
        return f"/?{query}" if query else "/"


@router.get("/")
def listing(
    visit: TheVisit, deployment: TheDeployment, jobs: TheJobs, filters: Annotated[Filters, Query()]
) -> HTMLResponse:
    """The newest jobs that the viewer may see."""
    visit.principal.require(Scope.JOBS_READ)
    found = [status for status in deployment.client.jobs(limit=_MOST_JOBS) if filters.take(status)]
    rows = list(_seen(found, jobs, visit.principal))
    begin, end = filters.skip, filters.skip + _PAGE_JOBS
    return visit.render(
        "jobs",
        rows=rows[begin:end],
        filters=filters,
        states=list(JobState),
        models=deployment.models.names(),
        newer=filters.address(skip=max(0, begin - _PAGE_JOBS)) if begin else None,
        older=filters.address(skip=end) if len(rows) > end else None,
    )


def _seen(
    found: Sequence[JobStatus], jobs: JobAccess, principal: Principal
) -> Iterator[tuple[JobStatus, str | None]]:
    for status in found:
        with suppress(JobNotFoundError, MessageError):
            yield status, jobs.manifest(status.job_id, principal).owner
