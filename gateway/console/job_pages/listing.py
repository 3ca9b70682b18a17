"""`/`: the jobs, newest first."""

from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from fornada.jobs.outcome import JobState
from gateway.api.cursors import from_cursor, to_cursor
from gateway.auth.callers import TheDeployment
from gateway.auth.principal import Principal
from gateway.auth.scopes import Scope
from gateway.console.job_access import TheJobs
from gateway.console.viewers import TheVisit
from producer.listing.pages import JobFilter

router = APIRouter()

_PAGE_JOBS = 25


class Filters(BaseModel):
    """Which jobs a page shows, as its address says."""

    state: JobState | Literal[""] = ""
    model: str = ""
    #: `name=value`.
    tag: str = ""
    cursor: str = ""

    @property
    def are_none(self) -> bool:
        """Whether all jobs pass."""
        return not (self.state or self.model or self.tag)

    def wanted(self, principal: Principal) -> JobFilter:
        """What passes, of what a caller may see."""
        name, _, value = self.tag.strip().partition("=")
        return JobFilter(
            owner=None if principal.is_admin else principal.owner,
            state=self.state or None,
            model=self.model.strip() or None,
            tag=(name, value) if name else None,
        )

    def older(self, cursor: str | None) -> str | None:
        """The address of the next page; `None` after the last one."""
        if cursor is None:
            return None
        values = {"state": self.state, "model": self.model, "tag": self.tag, "cursor": cursor}
        return f"/?{urlencode({name: value for name, value in values.items() if value})}"


@router.get("/")
def listing(
    visit: TheVisit,
    deployment: TheDeployment,
    jobs: TheJobs,
    filters: Annotated[Filters, Query()],
) -> HTMLResponse:
    """The newest jobs that the viewer may see."""
    principal = visit.principal
    principal.require(Scope.JOBS_READ)
    page = jobs.page(
        filters.wanted(principal), before=from_cursor(filters.cursor or None), limit=_PAGE_JOBS
    )
    return visit.render(
        "jobs",
        rows=[
            (found.status, None if found.manifest is None else found.manifest.owner)
            for found in page.jobs
            if principal.may_see_listed(found.manifest)
        ],
        filters=filters,
        states=list(JobState),
        models=[] if visit.wants_part else deployment.models.names(),
        older=filters.older(to_cursor(page.next_before)),
    )
