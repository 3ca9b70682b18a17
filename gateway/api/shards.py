"""/v1/jobs/{id}/shards: what became of each part of a job."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.jobs import job_of
from gateway.auth.callers import Caller, TheDeployment
from gateway.auth.scopes import Scope
from producer.listing.shards import JobShard, ShardState

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])

_UNFINISHED = (ShardState.RUNNING, ShardState.QUEUED, ShardState.WAITING)


class ShardQuery(BaseModel):
    """Which shards to list."""

    model_config = ConfigDict(extra="forbid")

    state: ShardState | None = None
    limit: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = Field(default=None, pattern=r"^[0-9]{1,8}$")


class ShardDocument(BaseModel):
    """A shard: the items of one message."""

    shard: int
    state: ShardState
    first_item: int
    items: int
    failed_items: int | None = Field(description="`null` until it has an outcome.")
    attempts: int | None = Field(description="`null` until it has an outcome.")
    reason: str | None = Field(description="Why it is dead: `input` or `crash-loop`.")
    detail: str | None
    last_error: str | None = Field(
        description="Why the last attempt of one without an outcome failed; it is tried again."
    )
    worker: str | None
    engine: str | None
    began_at: datetime | None
    committed_at: datetime | None
    fetch_s: float | None
    predict_s: float | None
    upload_s: float | None

    @classmethod
    def of(cls, found: JobShard, *, last_error: str | None) -> "ShardDocument":
        """The document of a shard."""
        outcome = found.outcome
        return cls(
            shard=found.shard,
            state=found.state,
            first_item=found.first_item,
            items=found.item_count,
            failed_items=outcome and len(outcome.item_errors),
            attempts=outcome and outcome.attempts,
            reason=outcome and outcome.reason,
            detail=outcome and outcome.detail,
            last_error=last_error,
            worker=outcome and outcome.worker,
            engine=outcome and outcome.engine,
            began_at=outcome and outcome.began_at,
            committed_at=outcome and outcome.committed_at,
            fetch_s=outcome and outcome.fetch_s,
            predict_s=outcome and outcome.predict_s,
            upload_s=outcome and outcome.upload_s,
        )


class ShardListDocument(BaseModel):
    """A page of shards, in order."""

    data: list[ShardDocument]
    next_cursor: str | None = Field(description="`cursor` of the next page; `null` after the last.")


@router.get("/shards")
def list_shards(
    job_id: str, query: Annotated[ShardQuery, Query()], deployment: TheDeployment, caller: Caller
) -> ShardListDocument:
    """The job's shards in order, with attempts, times, and why one is dead."""
    caller.require(Scope.JOBS_READ)
    job = job_of(job_id, deployment, caller)
    page = job.shards(query.state, first=int(query.cursor or 0), limit=query.limit)
    unfinished = [found.shard for found in page.shards if found.state in _UNFINISHED]
    errors = deployment.client.last_errors(job_id, unfinished)
    return ShardListDocument(
        data=[ShardDocument.of(found, last_error=errors.get(found.shard)) for found in page.shards],
        next_cursor=None if page.next_first is None else str(page.next_first),
    )
