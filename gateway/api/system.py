"""Whether the gateway lives and can work, how much work there is, and what it counts."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from fornada.records import Name
from gateway.auth.callers import Caller, TheDeployment
from gateway.auth.scopes import Scope
from producer.upkeep.backlog import WorkCount

router = APIRouter(tags=["system"])


class HealthDocument(BaseModel):
    """The gateway lives."""

    status: str = "ok"


@router.get("/healthz")
async def health() -> HealthDocument:
    """Whether the process answers; nothing else is asked."""
    # Not in a thread: all may be waiting for a store.
    return HealthDocument()


@router.get("/readyz")
def ready(deployment: TheDeployment) -> HealthDocument:
    """Whether Redis and the store answer; 503 if one does not."""
    deployment.objects.server_time()
    deployment.client.workers()
    return HealthDocument()


class WorkDocument(BaseModel):
    """A number of shards, and of the items in them."""

    shards: int
    items: int

    @classmethod
    def of(cls, count: WorkCount) -> "WorkDocument":
        """The document of a count."""
        return cls(shards=count.shards, items=count.items)


class BacklogDocument(BaseModel):
    """The shards of open jobs that have no outcome, each counted once, and calls that wait."""

    waiting: WorkDocument = Field(description="Not in the queue, which is full, or lost them.")
    queued: WorkDocument
    reserved: WorkDocument = Field(description="Taken by a worker, and not begun.")
    running: WorkDocument
    total: WorkDocument
    calls: int = Field(description="Of `predict`, which no worker has taken.")
    work: int = Field(
        description="The shards of `total` and the calls: what to scale workers by. Once it is 0, "
        "no worker is needed."
    )


class BacklogQuery(BaseModel):
    """Which work."""

    model_config = ConfigDict(extra="forbid")

    queue: Name | None = Field(default=None, description="Of this queue alone.")


@router.get("/v1/backlog")
def show_backlog(
    query: Annotated[BacklogQuery, Query()], deployment: TheDeployment, caller: Caller
) -> BacklogDocument:
    """The unfinished work of all jobs, of whatever owner, at most 15 seconds ago."""
    caller.require(Scope.JOBS_READ)
    backlogs = deployment.backlogs
    found = backlogs.total() if query.queue is None else backlogs.of(query.queue)
    return BacklogDocument(
        waiting=WorkDocument.of(found.waiting),
        queued=WorkDocument.of(found.queued),
        reserved=WorkDocument.of(found.reserved),
        running=WorkDocument.of(found.running),
        total=WorkDocument.of(found.total),
        calls=found.calls,
        work=found.work,
    )


class WorkerDocument(BaseModel):
    """A worker process, as it reported within the last minute."""

    name: str
    version: str
    queue: str
    engine: str
    models: list[str] = Field(description="In its memory.")
    threads: int = Field(description="Shards that it handles at a time.")
    shards_running: int
    items_done: int = Field(description="Since it started.")
    items_per_s: float = Field(description="In the last minute.")
    started_at: datetime
    last_progress_at: datetime | None


class WorkerListDocument(BaseModel):
    """The worker processes, by name."""

    data: list[WorkerDocument]


@router.get("/v1/workers")
def list_workers(deployment: TheDeployment, caller: Caller) -> WorkerListDocument:
    """The worker processes, each as it reported within the last minute."""
    caller.require(Scope.JOBS_READ)
    reports = deployment.client.workers()
    return WorkerListDocument(data=[WorkerDocument(**report.model_dump()) for report in reports])


@router.get(
    "/metrics",
    response_class=Response,
    responses={HTTPStatus.OK: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def show_metrics(request: Request, deployment: TheDeployment, caller: Caller) -> Response:
    """What this gateway counts, in Prometheus's format; 404 if it counts nothing."""
    caller.require(Scope.METRICS_READ)
    if deployment.metrics is None:
        raise HTTPException(
            HTTPStatus.NOT_FOUND, "no metrics are counted; set FORNADA_METRICS_PORT"
        )
    found = deployment.metrics.exposition(request.headers.get("Accept", ""))
    return Response(found.text, media_type=found.media_type)
