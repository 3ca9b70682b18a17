"""/v1/jobs/{id}/webhook: how telling a job's end went, and telling it again."""

from datetime import datetime
from http import HTTPStatus
from typing import Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from gateway.api.jobs import job_of
from gateway.auth.callers import Caller, TheDeployment
from gateway.auth.scopes import Scope
from gateway.webhooks.outbox import JobWebhook, State

router = APIRouter(prefix="/v1/jobs/{job_id}/webhook", tags=["jobs"])


class AttemptDocument(BaseModel):
    """One call."""

    at: datetime
    status: int | None = Field(description="Of the answer; `null` if there was none.")
    error: str | None = Field(description="Why there was none, or a redirect was no delivery.")


class WebhookDocument(BaseModel):
    """A job's webhook."""

    id: str = Field(description="`webhook-id`, the same in every call.")
    url: str
    state: State = Field(
        description="`waiting` for the job's end; `retrying`; `delivered`; `gone`, since the "
        "receiver answered 410; `given up` after three days."
    )
    next_at: datetime | None
    attempts: list[AttemptDocument] = Field(description="The latest 20, the oldest first.")

    @classmethod
    def of(cls, webhook: JobWebhook) -> Self:
        """The document of a webhook."""
        return cls(
            id=webhook.id,
            url=webhook.url,
            state=webhook.state,
            next_at=webhook.next_at,
            attempts=[AttemptDocument(**each.model_dump()) for each in webhook.attempts],
        )


@router.get("")
def show_webhook(job_id: str, deployment: TheDeployment, caller: Caller) -> WebhookDocument:
    """How telling the job's webhook went."""
    caller.require(Scope.JOBS_READ)
    job_of(job_id, deployment, caller)
    return WebhookDocument.of(deployment.webhooks.newest(job_id))


@router.post("/redeliver", status_code=HTTPStatus.ACCEPTED)
def redeliver(job_id: str, deployment: TheDeployment, caller: Caller) -> WebhookDocument:
    """Tell the webhook of a job that has ended once more, at once, and again for three days."""
    caller.require(Scope.JOBS_WRITE)
    job_of(job_id, deployment, caller)
    return WebhookDocument.of(deployment.webhooks.tell_again(job_id))
