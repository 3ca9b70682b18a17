"""/v1/jobs: submit, list, show and cancel jobs."""

import re
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from fornada.coordination.interface import Progress
from fornada.errors import JobNotFoundError
from fornada.figures.drift import Drift
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobState
from gateway.api.cursors import from_cursor, to_cursor
from gateway.api.job_document import (
    JobDocument,
    JobListDocument,
    ShownJobDocument,
    SubmittedDocument,
    WebhookSecret,
)
from gateway.api.submitting.form_submission import submit_form
from gateway.api.submitting.job_request import JobRequest
from gateway.api.submitting.submission import Submitting, job_id_of, key_of_header, parsed
from gateway.auth.callers import Caller, TheDeployment
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from gateway.http.body_limits import FORM, JSON, media_type_of
from producer.job import Job
from producer.listing.pages import JobFilter

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_BODIES = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": {"$ref": "#/components/schemas/JobRequest"}},
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["request", "file"],
                    "properties": {
                        "request": {"$ref": "#/components/schemas/JobOptions"},
                        "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
                    },
                },
                "encoding": {"request": {"contentType": JSON}},
            },
        },
    }
}

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=256,
        description="A name of your own for the request, such as an order number. Sent again, it "
        "gives the same job, which `GET /v1/jobs?idempotency_key=…` finds.",
    ),
]


@router.post("", status_code=HTTPStatus.ACCEPTED, openapi_extra=_BODIES)
async def submit_job(
    request: Request,
    response: Response,
    deployment: TheDeployment,
    caller: Caller,
    idempotency_key: IdempotencyKey = None,
) -> SubmittedDocument:
    """Submit items as a job. Once this answers, the job will end, whatever crashes.

    JSON names the items, or has them. A form has the field `request`, the same JSON without
    `input`, and then files: images, an item each, or arrays, tables and archives. The name of an
    image is its item's id.
    """
    caller.require(Scope.JOBS_WRITE)
    job_id = None
    if idempotency_key is not None:
        job_id = job_id_of(caller.owner, key_of_header(idempotency_key))
    submitting = Submitting(deployment=deployment, caller=caller, job_id=job_id)
    if media_type_of(request.headers) == FORM:
        async with request.app.state.forms.one(caller.owner):
            job = await submit_form(request, submitting)
    else:
        asked = parsed(JobRequest, await request.body())
        job = await run_in_threadpool(submitting.submit_request, asked)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    if idempotency_key is None:
        # It is new, so its progress has not to be asked.
        status = await run_in_threadpool(job.looks().status, _no_progress(job.manifest))
    else:
        status = await run_in_threadpool(job.status)
    document = SubmittedDocument.of(job.manifest, status)
    url = job.manifest.webhook
    if url is not None:
        secret = await run_in_threadpool(deployment.webhooks.shown_secret, job.id)
        document.webhook = WebhookSecret(url=url, secret=secret)
    return document


def _no_progress(manifest: JobManifest) -> Progress:
    """The progress of a job that was just submitted."""
    enqueued = dict.fromkeys(range(len(manifest.shards)), 0.0)
    return Progress(done=frozenset(), enqueued=enqueued, counted=True, at=manifest.created_at)


class JobQuery(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid")

    state: JobState | None = None
    model: str | None = Field(
        default=None,
        description="`name`, `name:version`, or `name@alias` for the version that it points to.",
    )
    tag: str | None = Field(
        default=None, pattern="[:=]", examples=["name=value"], description="`name=value`."
    )
    queue: str | None = None
    idempotency_key: str | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="The job that the caller submitted with it.",
    )
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=512)

    def wanted(self, *, owner: str | None, model: str | None) -> JobFilter:
        """The jobs."""
        tag = None if self.tag is None else re.split("[:=]", self.tag, maxsplit=1)
        return JobFilter(
            owner=owner,
            state=self.state,
            model=model,
            tag=None if tag is None else (tag[0], tag[1]),
            queue=self.queue,
        )


class DriftQuery(BaseModel):
    """What to compare a job with."""

    model_config = ConfigDict(extra="forbid")

    against: str | None = Field(
        default=None, description="Another job, in place of the model's test items."
    )


@router.get("")
def list_jobs(
    query: Annotated[JobQuery, Query()], deployment: TheDeployment, caller: Caller
) -> JobListDocument:
    """The caller's jobs, newest first; all jobs with scope `admin`.

    A page may have fewer jobs than `limit`, even none, while `next_cursor` says that there are
    more. New jobs move no page. The newest 10,000 jobs of an owner are listed, and with scope
    `admin` the newest 10,000 of all. Of a job that is UNREADABLE, only `id`, `created_at` and
    `reason` say something.
    """
    caller.require(Scope.JOBS_READ)
    wanted = query.wanted(
        owner=None if caller.is_admin else caller.owner, model=deployment.exact_model(query.model)
    )
    if query.idempotency_key is not None:
        # Keys are their callers' own, an administrator's too.
        job_id = job_id_of(caller.owner, query.idempotency_key)
        found = _found(job_id, wanted, deployment)
        return JobListDocument(data=[] if found is None else [found], next_cursor=None)
    page = deployment.client.page(
        wanted,
        before=from_cursor(query.cursor),
        limit=query.limit,
    )
    seen = [found for found in page.jobs if caller.may_see_listed(found.manifest)]
    return JobListDocument(
        data=[JobDocument.of(found.manifest, found.status) for found in seen],
        next_cursor=to_cursor(page.next_before),
    )


def _found(job_id: str, wanted: JobFilter, deployment: Deployment) -> JobDocument | None:
    """The job, if there is one and it is wanted."""
    try:
        job = deployment.client.job(job_id)
    except JobNotFoundError:
        return None
    status = job.status()
    if not wanted.takes_manifest(job.manifest) or wanted.state not in {None, status.state}:
        return None
    return JobDocument.of(job.manifest, status)


@router.get("/{job_id}")
def show_job(job_id: str, deployment: TheDeployment, caller: Caller) -> ShownJobDocument:
    """The job now; once it has ended, with what it took and predicted."""
    caller.require(Scope.JOBS_READ)
    job = job_of(job_id, deployment, caller)
    return ShownJobDocument.of(
        job.manifest, job.status(), with_results=caller.may(Scope.RESULTS_READ)
    )


@router.get("/{job_id}/drift")
def show_drift(
    job_id: str, query: Annotated[DriftQuery, Query()], deployment: TheDeployment, caller: Caller
) -> Drift:
    """How far the predictions of an ended job are from those for its model's test items.

    The distance is the population stability index: below 0.1 a shift is `stable`, below 0.25
    `moderate`, from there on `large`; `unclear` where samples this small may be as far apart by
    chance. 409 where one of the two has no figures.
    """
    caller.require(Scope.RESULTS_READ)
    job_of(job_id, deployment, caller)
    if query.against is not None:
        job_of(query.against, deployment, caller)
    return deployment.client.drift(job_id, against=query.against)


@router.post("/{job_id}/cancel")
def cancel_job(job_id: str, deployment: TheDeployment, caller: Caller) -> JobDocument:
    """Stop the job; what is done stays readable. An ended job stays as it is."""
    caller.require(Scope.JOBS_WRITE)
    job = job_of(job_id, deployment, caller)
    return JobDocument.of(job.manifest, job.cancel(f"cancelled by {caller.owner}"))


@router.delete("/{job_id}", status_code=HTTPStatus.NO_CONTENT)
def delete_job(job_id: str, deployment: TheDeployment, caller: Caller) -> None:
    """Delete an ended job with its items and results; an open one is refused with 409."""
    caller.require(Scope.JOBS_WRITE)
    job_of(job_id, deployment, caller)
    deployment.client.delete(job_id)
    deployment.webhooks.forget(job_id)


def job_of(job_id: str, deployment: TheDeployment, caller: Caller) -> Job:
    """The job, if the caller may see it.

    Raises:
        JobNotFoundError: There is no such job, or not for this caller.
    """
    job = deployment.client.job(job_id)
    caller.require_job(job.manifest)
    return job
