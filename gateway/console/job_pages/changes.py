"""What can be done with a job: cancel it, retry what failed, verify it, call its webhook again."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, RedirectResponse

from fornada.errors import IntegrityError, JobFailedError, JobNotFinishedError
from gateway.auth.callers import TheDeployment
from gateway.auth.scopes import Scope
from gateway.console.job_pages.visit import TheJobVisit
from gateway.console.viewers import FormChecked
from producer.upkeep.retry import retry_id
from producer.upkeep.verification import Verification

router = APIRouter(prefix="/jobs/{job_id}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A change, and how a page asks for it."""

    title: str
    question: str
    button: str
    is_dangerous: bool = False


CHANGES = {
    "cancel": Change(
        title="Cancel this job?",
        question="No further shard is begun. What is done stays readable; the rest is never run.",
        button="Cancel the job",
        is_dangerous=True,
    ),
    "retry-failed": Change(
        title="Retry what failed?",
        question="The failed items, and shards that were never run, are run again as a new job. "
        "Items keep their ids; nothing is copied. Asked again, it is the same job.",
        button="Retry",
    ),
    "verify": Change(
        title="Verify this job?",
        question="Some shards are computed again as a new job, and compared with what is stored, "
        "byte by byte.",
        button="Verify",
    ),
}


@router.get("/cancel")
@router.get("/retry-failed")
@router.get("/verify")
def ask(visit: TheJobVisit) -> HTMLResponse:
    """Ask before a change."""
    visit.change()
    name = visit.visit.request.url.path.rpartition("/")[2]
    return visit.render("job_change", name=name, change=CHANGES[name])


@router.post("/cancel", dependencies=[FormChecked])
def cancel(visit: TheJobVisit) -> RedirectResponse:
    """Cancel the job."""
    manifest = visit.change()
    visit.jobs.job(manifest.job_id, visit.principal).cancel(f"cancelled by {visit.principal.owner}")
    visit.jobs.forget(manifest.job_id)
    return _to(f"/jobs/{manifest.job_id}")


@router.post("/retry-failed", dependencies=[FormChecked])
def retry_failed(visit: TheJobVisit, deployment: TheDeployment) -> RedirectResponse:
    """Run again what failed, as a new job."""
    source = visit.change()
    deployment.webhooks.carry_over(source, retry_id(source.job_id))
    admit = deployment.quotas.admission(visit.principal)
    return _to(f"/jobs/{deployment.client.retry_failed(source.job_id, admit=admit).id}")


@router.post("/verify", dependencies=[FormChecked])
def verify(
    visit: TheJobVisit,
    deployment: TheDeployment,
    sample: Annotated[int, Form(ge=1, le=1000)] = 16,
) -> RedirectResponse:
    """Begin to compute shards again."""
    source = visit.change()
    deployment.quotas.check_verification(visit.principal, source, sample=sample)
    again = deployment.client.begin_verification(source.job_id, sample=sample)
    return _to(f"/jobs/{source.job_id}/verifications/{again.id}")


@router.get("/verifications/{verification_id}")
def verification(
    verification_id: str, visit: TheJobVisit, deployment: TheDeployment
) -> HTMLResponse:
    """Whether what was computed again is the same."""
    visit.principal.require(Scope.RESULTS_READ)
    again = visit.jobs.view(verification_id, visit.principal)
    found: Verification | None = None
    why = ""
    try:
        found = deployment.client.verification(visit.manifest.job_id, verification_id)
    except JobNotFinishedError:
        pass
    except (JobFailedError, IntegrityError) as exc:
        why = exc.public_text
    return visit.render("verification", again=again.status, found=found, why=why)


@router.post("/webhook/redeliver", dependencies=[FormChecked])
def redeliver(visit: TheJobVisit, deployment: TheDeployment) -> RedirectResponse:
    """Call the webhook once more, at once."""
    job_id = visit.change().job_id
    deployment.webhooks.tell_again(job_id)
    return _to(f"/jobs/{job_id}#webhook")


def _to(path: str) -> RedirectResponse:
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)
