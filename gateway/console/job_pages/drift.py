"""`/jobs/{id}/drift`: what a job predicted, beside what is expected of its model."""

from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from fornada.errors import DriftUnknownError, JobNotFoundError, JobStateError, UsageError
from fornada.figures.drift import Drift
from gateway.auth.callers import TheDeployment
from gateway.auth.scopes import Scope
from gateway.console.job_pages.visit import JobVisit, TheJobVisit
from gateway.deployment import Deployment

router = APIRouter(prefix="/jobs/{job_id}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    """What was found, or why nothing was."""

    found: Drift | None = None
    why: str = ""


@router.get("/drift")
def drift(visit: TheJobVisit, deployment: TheDeployment, against: str = "") -> HTMLResponse:
    """How far the job's predictions are from what is expected, or from another job's."""
    visit.principal.require(Scope.RESULTS_READ)
    # Seen first: an answer about a job is for those who may see it.
    job_id = visit.manifest.job_id
    answer = _answer(visit, deployment, job_id, against.strip() or None)
    return visit.render("drift", found=answer.found, why=answer.why, against=against.strip())


def _answer(visit: JobVisit, deployment: Deployment, job_id: str, against: str | None) -> _Answer:
    try:
        if against is not None:
            visit.jobs.manifest(against, visit.principal)
        return _Answer(found=deployment.client.drift(job_id, against=against))
    except (DriftUnknownError, JobNotFoundError, JobStateError, UsageError) as exc:
        return _Answer(why=exc.public_text)
