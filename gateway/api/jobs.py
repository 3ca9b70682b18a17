"""/v1/jobs: submit, list, show and cancel jobs."""

import hashlib
import re
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field

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


class JobQuery(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid")

    state: JobState | None = None
    model: str | None = Field(default=None, description="`name` or `name:version`.")
    tag: str | None = Field(default=None, pattern="[:=]", description="`name:value`.")
    queue: str | None = None
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=512)

    def wanted(self, *, owner: str | None) -> JobFilter:
        """The jobs."""
        tag = None if self.tag is None else re.split("[:=]", self.tag, maxsplit=1)
        return JobFilter(
            owner=owner,
            state=self.state,
            model=self.model,
            tag=None if tag is None else (tag[0], tag[1]),
            queue=self.queue,
        )


@router.get("")
def list_jobs(
    query: Annotated[JobQuery, Query()], deployment: TheDeployment, caller: Caller
) -> JobListDocument:
    """The caller's jobs, newest first; all jobs with scope `admin`.

    A page may have fewer jobs than `limit`, even none, while `next_cursor` says that there are
    more. New jobs move no page. The newest 10,000 jobs of an owner are listed.
    """
    caller.require(Scope.JOBS_READ)
    page = deployment.client.page(
        query.wanted(owner=None if caller.is_admin else caller.owner),
        before=from_cursor(query.cursor),
        limit=query.limit,
    )
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
