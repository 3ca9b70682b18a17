"""What can be done for a job after it was submitted: resume, retry and verify it."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.job_document import JobDocument
from gateway.api.jobs import job_of
from gateway.auth.callers import Caller, TheDeployment
from gateway.auth.scopes import Scope
from producer.upkeep.retry import retry_id
from producer.upkeep.verification import Verification

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])


class VerifyRequest(BaseModel):
    """Which part of a job to compute again."""

    model_config = ConfigDict(extra="forbid")

    sample: int = Field(ge=1, le=1000, default=16, description="Shards to compute, at most.")


class DifferenceDocument(BaseModel):
    """The first value that differs."""

    shard: int
    item: int
    output: str
    column: str
    recorded: float | str
    recomputed: float | str


class VerificationDocument(BaseModel):
    """What was found when shards were computed again."""

    id: str = Field(description="The job that computed them.")
    job_id: str
    same: bool = Field(description="Whether every byte is the same.")
    shards: int
    items: int
    shards_differing: int
    first_difference: DifferenceDocument | None
    engines: tuple[str, str] | None = Field(description="Then and now, if they differ.")

    @classmethod
    def of(cls, found: Verification) -> "VerificationDocument":
        """The document of a verification."""
        first = found.first_difference
        return cls(
            id=found.verification_id,
            job_id=found.job_id,
            same=found.same,
            shards=found.shards,
            items=found.items,
            shards_differing=found.shards_differing,
            first_difference=first
            and DifferenceDocument(
                shard=first.shard,
                item=first.item,
                output=first.output,
                column=first.column,
                recorded=first.recorded,
                recomputed=first.recomputed,
            ),
            engines=found.engines,
        )


@router.post("/resume")
def resume_job(job_id: str, deployment: TheDeployment, caller: Caller) -> JobDocument:
    """Enqueue the lost shards of an open job now; workers would do so later."""
    caller.require(Scope.JOBS_WRITE)
    job_of(job_id, deployment, caller)
    job = deployment.client.resume(job_id)
    return JobDocument.of(job.manifest, job.status())


@router.post("/retry-failed", status_code=HTTPStatus.ACCEPTED)
def retry_failed_items(
    job_id: str, response: Response, deployment: TheDeployment, caller: Caller
) -> JobDocument:
    """Run the failed items of an ended job again, as a new job of the same owner.

    Called again, it gives the same job.
    """
    caller.require(Scope.JOBS_WRITE)
    source = job_of(job_id, deployment, caller).manifest
    deployment.webhooks.carry_over(source, retry_id(job_id))
    admit = deployment.quotas.admission(caller)
    job = deployment.client.retry_failed(job_id, admit=admit)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return JobDocument.of(job.manifest, job.status())


@router.post("/verify", status_code=HTTPStatus.ACCEPTED)
def verify_job(
    job_id: str,
    response: Response,
    deployment: TheDeployment,
    caller: Caller,
    request: Annotated[VerifyRequest | None, Body()] = None,
) -> JobDocument:
    """Compute shards of an ended job again; `Location` has the comparison once that has ended."""
    caller.require(Scope.JOBS_WRITE)
    job = job_of(job_id, deployment, caller)
    sample = (request or VerifyRequest()).sample
    deployment.quotas.check_verification(caller, job.manifest, sample=sample)
    again = deployment.client.begin_verification(job_id, sample=sample)
    response.headers["Location"] = f"/v1/jobs/{job_id}/verifications/{again.id}"
    return JobDocument.of(again.manifest, again.status())


@router.get("/verifications/{verification_id}")
def show_verification(
    job_id: str, verification_id: str, deployment: TheDeployment, caller: Caller
) -> VerificationDocument:
    """Whether what was computed again is the same, byte by byte; 409 before the end."""
    caller.require(Scope.RESULTS_READ)
    job_of(job_id, deployment, caller)
    return VerificationDocument.of(deployment.client.verification(job_id, verification_id))
