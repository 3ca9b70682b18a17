"""`/workers`: how much work waits in each queue, and who did work of late."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from fornada.errors import FornadaError
from fornada.parallel import in_parallel
from gateway.auth.callers import TheDeployment
from gateway.auth.scopes import Scope
from gateway.console.items.survey import Surveys
from gateway.console.job_access import JobAccess, TheJobs, View
from gateway.console.viewers import TheVisit, Visit
from gateway.deployment import Deployment
from producer.listing.pages import JobFilter

router = APIRouter()

#: Jobs whose outcomes are looked at for their workers, the newest ones.
_MOST_JOBS = 12
#: Open jobs that are counted.
_MOST_OPEN = 200


@dataclass(kw_only=True, slots=True)
class QueueLine:
    """The work of a queue that is not done."""

    name: str
    jobs: int = 0
    waiting: int = 0
    queued: int = 0
    running: int = 0
    items: int = 0
    #: Why no worker takes a job, by the job.
    held_up: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True)
class WorkerLine:
    """A process that committed shards of late."""

    name: str
    shards: int = 0
    items: int = 0
    busy_s: float = 0.0
    last_at: datetime | None = None
    engines: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)

    @property
    def items_per_s(self) -> float | None:
        """While it is busy, a shard at a time."""
        return self.items / self.busy_s if self.busy_s else None


@router.get("/workers")
def workers(visit: TheVisit, deployment: TheDeployment, jobs: TheJobs) -> HTMLResponse:
    """The backlog of each queue, and the workers seen."""
    visit.principal.require(Scope.JOBS_READ)
    surveys: Surveys = visit.request.app.state.surveys
    views = _open_views(visit, deployment, jobs)
    return visit.render(
        "workers",
        queues=_queues(views),
        workers=_workers(_newest(visit, deployment, jobs), surveys),
    )


def _open_views(visit: Visit, deployment: Deployment, jobs: JobAccess) -> list[View]:
    """The open jobs that the viewer may see."""
    job_ids = sorted(deployment.client.open_job_ids(), reverse=True)[:_MOST_OPEN]
    found = in_parallel(lambda job_id: _view(visit, jobs, job_id), job_ids)
    return [view for view in found if view is not None and view.final is None]


def _newest(visit: Visit, deployment: Deployment, jobs: JobAccess) -> list[View]:
    owner = None if visit.principal.is_admin else visit.principal.owner
    page = deployment.client.page(JobFilter(owner=owner), limit=_MOST_JOBS)
    found = in_parallel(lambda each: _view(visit, jobs, each.job.id), page.jobs)
    return [view for view in found if view is not None]


def _view(visit: Visit, jobs: JobAccess, job_id: str) -> View | None:
    try:
        return jobs.view(job_id, visit.principal)
    except FornadaError:
        # It is gone, cannot be read, or is none of the viewer's.
        return None


def _queues(views: Iterable[View]) -> list[QueueLine]:
    lines: dict[str, QueueLine] = {}
    for view in views:
        manifest, status = view.manifest, view.status
        line = lines.setdefault(manifest.queue_name, QueueLine(name=manifest.queue_name))
        queued = _queued(view)
        line.jobs += 1
        line.running += status.shards_running
        line.queued += queued
        line.waiting += status.shards_queued - queued
        line.items += status.items - status.items_done
        if status.reason:
            line.held_up[manifest.job_id] = status.reason
    return sorted(lines.values(), key=lambda line: line.name)


def _queued(view: View) -> int:
    if view.progress is None:
        return 0
    return min(view.status.shards_queued, len(view.progress.enqueued.keys() - view.progress.done))


def _workers(views: Iterable[View], surveys: Surveys) -> list[WorkerLine]:
    lines: dict[str, WorkerLine] = {}
    for view in views:
        survey = surveys.of(view)
        for seen in survey.seen:
            line = lines.setdefault(seen.worker, WorkerLine(name=seen.worker))
            line.shards += 1
            line.items += seen.items
            line.busy_s += seen.busy_s
            line.models.add(str(view.manifest.model))
            line.engines |= {seen.engine} if seen.engine else set()
            line.last_at = seen.at if line.last_at is None else max(line.last_at, seen.at)
    return sorted(lines.values(), key=lambda line: line.name)
