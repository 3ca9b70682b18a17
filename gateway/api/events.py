"""/v1/jobs/{id}/events: a job as it goes on."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from fornada.errors import JobNotFoundError, StoreError
from fornada.logs import get_logger
from gateway.api.jobs import job_of
from gateway.auth.callers import Caller, TheDeployment, caller_still
from gateway.auth.errors import ForbiddenError, UnauthenticatedError
from gateway.auth.scopes import Scope
from gateway.live.jobs import LiveJobs

log = get_logger(__name__)

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_STREAM = "text/event-stream"


@router.get(
    "/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {_STREAM: {}}}},
)
def events(
    job_id: str,
    request: Request,
    deployment: TheDeployment,
    caller: Caller,
    *,
    shards: Annotated[bool, Query(description="Also tell which shards changed.")] = False,
) -> StreamingResponse:
    """Follow a job as server-sent events, until it has ended.

    `progress` and `ended` have the job's document. The first event has the job as it is now, and
    `ended` is the last; `progress` comes five times a second at most. With `shards`, `shard` has
    the shards whose state changed, `{"ok": [[0, 3]], "running": [[4, 4]]}`; the first one has all.
    After a broken connection, connect again: what was missed is in the first event.
    """
    caller.require(Scope.JOBS_READ)
    job = job_of(job_id, deployment, caller)
    live: LiveJobs = request.app.state.live

    async def still_may() -> bool:
        try:
            again = await caller_still(request)
            again.require(Scope.JOBS_READ)
            again.require_job(job.manifest)
        except (UnauthenticatedError, ForbiddenError, JobNotFoundError):
            return False
        except StoreError as exc:
            # It is asked again soon.
            log.warning("caller of a stream not checked", job_id=job.id, error=str(exc))
        return True

    return StreamingResponse(
        live.events(job, shards=shards, still_may=still_may),
        media_type=_STREAM,
        # The second is for nginx, which would hold events back.
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
