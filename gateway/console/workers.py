"""`/workers`: the processes that work, and how much work waits in each queue."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from fornada.coordination.worker_board.interface import GONE_AFTER_S
from fornada.errors import FornadaError
from fornada.parallel import in_parallel
from gateway.auth.callers import TheDeployment
from gateway.auth.scopes import Scope
from gateway.console.job_access import JobAccess, TheJobs, View
from gateway.console.viewers import TheVisit, Visit
from gateway.deployment import Deployment

router = APIRouter()

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


@router.get("/workers")
def workers(visit: TheVisit, deployment: TheDeployment, jobs: TheJobs) -> HTMLResponse:
    """The processes that work, and the backlog of each queue."""
    visit.principal.require(Scope.JOBS_READ)
    return visit.render(
        "workers",
        queues=_queues(_open_views(visit, deployment, jobs)),
        workers=deployment.client.workers(),
        gone_after_s=GONE_AFTER_S,
    )


def _open_views(visit: Visit, deployment: Deployment, jobs: JobAccess) -> list[View]:
    """The open jobs that the viewer may see."""
    job_ids = sorted(deployment.client.open_job_ids(), reverse=True)[:_MOST_OPEN]
    found = in_parallel(lambda job_id: _view(visit, jobs, job_id), job_ids)
    return [view for view in found if view is not None and view.final is None]


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
