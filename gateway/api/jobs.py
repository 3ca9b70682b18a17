"""/v1/jobs: submit, list, show and cancel jobs."""

import hashlib
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from fornada.errors import UsageError
from fornada.jobs.outcome import JobState
from gateway.api.cursors import from_cursor, to_cursor
from gateway.api.job_document import JobDocument, JobListDocument
from gateway.api.job_request import JobRequest
from gateway.auth.callers import Caller, TheDeployment
from gateway.auth.scopes import Scope
from producer.job import Job
from producer.job_pages import JobFilter
from producer.submitting.submission import Options, Submission

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=256,
        description="A name of your own for the request, such as an order number. Sent again, it "
        "gives the same job.",
    ),
]


@router.post("", status_code=HTTPStatus.ACCEPTED)
def submit(
    request: JobRequest,
    response: Response,
    deployment: TheDeployment,
    caller: Caller,
    idempotency_key: IdempotencyKey = None,
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


@router.get("")
def list_jobs(
    deployment: TheDeployment,
    caller: Caller,
    *,
    state: JobState | None = None,
    model: Annotated[str | None, Query(description="`name` or `name:version`.")] = None,
    tag: Annotated[str | None, Query(description="`name:value` or `name=value`.")] = None,
    queue: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=512)] = None,
) -> JobListDocument:
    """The caller's jobs, newest first; all jobs with scope `admin`.

    A page may have fewer jobs than `limit`, even none, while `next_cursor` says that there are
    more. New jobs move no page. The newest 10,000 jobs of an owner are listed.
    """
    caller.require(Scope.JOBS_READ)
    wanted = JobFilter(
        owner=None if caller.is_admin else caller.owner,
        state=state,
        model=model,
        tag=None if tag is None else _name_and_value(tag),
        queue=queue,
    )
    page = deployment.client.page(wanted, before=from_cursor(cursor), limit=limit)
    seen = [found for found in page.jobs if caller.may_see(found.job.manifest)]
    return JobListDocument(
        data=[JobDocument.of(found.job.manifest, found.status) for found in seen],
        next_cursor=to_cursor(page.next_before),
    )


@router.get("/{job_id}")
def show(job_id: str, deployment: TheDeployment, caller: Caller) -> JobDocument:
    """The job now."""
    caller.require(Scope.JOBS_READ)
    job = job_of(job_id, deployment, caller)
    return JobDocument.of(job.manifest, job.status())


@router.post("/{job_id}/cancel")
def cancel(job_id: str, deployment: TheDeployment, caller: Caller) -> JobDocument:
    """Stop the job; what is done stays readable. An ended job stays as it is."""
    caller.require(Scope.JOBS_WRITE)
    job = job_of(job_id, deployment, caller)
    return JobDocument.of(job.manifest, job.cancel(f"cancelled by {caller.owner}"))


@router.delete("/{job_id}", status_code=HTTPStatus.NO_CONTENT)
def delete(job_id: str, deployment: TheDeployment, caller: Caller) -> None:
    """Delete an ended job with its items and results; an open one is refused with 409."""
    caller.require(Scope.JOBS_WRITE)
    job_of(job_id, deployment, caller)
    deployment.client.delete(job_id)


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


def _name_and_value(tag: str) -> tuple[str, str]:
    name, sign, value = tag.partition("=" if "=" in tag.partition(":")[0] else ":")
    if not sign:
        raise UsageError(f"tag is {tag[:80]!r}; write name:value")
    return name, value
