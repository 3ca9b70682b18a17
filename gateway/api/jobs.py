"""/v1/jobs: submit, list, show and cancel jobs."""

import hashlib
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Response

from gateway.api.job_document import JobDocument
from gateway.api.job_request import JobRequest
from gateway.auth.callers import Caller, TheDeployment
from gateway.auth.scopes import Scope
from producer.job import Job
from producer.submitting.submission import Options, Submission

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post("", status_code=HTTPStatus.ACCEPTED)
def submit(
    request: JobRequest,
    response: Response,
    deployment: TheDeployment,
    caller: Caller,
    idempotency_key: Annotated[str | None, Header(max_length=256)] = None,
) -> JobDocument:
    """Submit items as a job. Once this answers, the job will end, whatever crashes."""
    caller.require(Scope.JOBS_WRITE)
    inputs, item_ids = request.inputs()
    submission = Submission(
        inputs=inputs,
        item_ids=item_ids,
        idempotency_key=job_id_of(caller.owner, idempotency_key),
        tags=request.tags,
    )
    options = Options(
        model=request.model,
        items_per_shard=request.items_per_shard,
        deadline_s=request.deadline_s,
        max_failed=request.max_failed,
        owner=caller.owner,
        prefixes=caller.narrowed(deployment.prefixes),
        admit=deployment.quotas.admission(caller),
    )
    (job,) = deployment.client.submit_with([submission], options)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return JobDocument.of(job.manifest, job.status())


@router.get("/{job_id}")
def show(job_id: str, deployment: TheDeployment, caller: Caller) -> JobDocument:
    """The job now."""
    caller.require(Scope.JOBS_READ)
    job = job_of(job_id, deployment, caller)
    return JobDocument.of(job.manifest, job.status())


@router.post("/{job_id}/cancel")
def cancel(job_id: str, deployment: TheDeployment, caller: Caller) -> JobDocument:
    """Stop the job; what is done stays readable."""
    caller.require(Scope.JOBS_WRITE)
    job = job_of(job_id, deployment, caller)
    return JobDocument.of(job.manifest, job.cancel(f"cancelled by {caller.owner}"))


def job_of(job_id: str, deployment: TheDeployment, caller: Caller) -> Job:
    """The job, if the caller may see it.

    Raises:
        JobNotFoundError: There is no such job, or not for this caller.
    """
    job = deployment.client.job(job_id)
    caller.require_job(job.manifest)
    return job


def job_id_of(owner: str, idempotency_key: str | None) -> str | None:
    """The id of the job of an `Idempotency-Key`; callers cannot meet."""
    if idempotency_key is None:
        return None
    digest = hashlib.sha256(f"{owner}\n{idempotency_key}".encode()).hexdigest()
    return f"k-{digest[:40]}"
