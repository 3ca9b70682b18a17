"""The webhooks of jobs, an object each: written before the job, so that no end is forgotten."""

import secrets
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from fornada import keys
from fornada.errors import MessageError, ObjectNotFoundError
from fornada.keys import gateway as gateway_keys
from fornada.logs import get_logger
from fornada.records import Name, Record, now
from fornada.storage.checked_reads import read_bounded
from fornada.storage.interface import ObjectStore
from gateway.webhooks.errors import WebhookNotFoundError

log = get_logger(__name__)

#: Of a webhook, with its attempts.
_MOST_BYTES = 256 * 1024
#: The latest attempts are kept.
_KEPT_ATTEMPTS = 20

#: `waiting` for the job's end, `retrying` to tell it, `delivered`; `gone`: the receiver answered
#: 410; `given up` after three days.
State = Literal["waiting", "retrying", "delivered", "gone", "given up"]


class Attempt(Record):
    """One call of a webhook: the status of the answer, or why it was not delivered."""

    at: AwareDatetime
    status: int | None = None
    error: str | None = None

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - HTTP


class JobWebhook(Record):
    """Who is to be told of a job's end, and how that went."""

    schema_version: Literal[1] = 1
    job_id: Name
    #: `webhook-id`: the same in every attempt, so that a receiver knows a repetition.
    id: Annotated[str, Field(pattern=r"^msg_[0-9a-f]{32}$")]
    url: str
    #: Sealed (`WebhookSecrets`).
    secret: str
    state: State = "waiting"
    #: Raised by each redelivery by hand.
    round: int = 0
    #: Attempts of this round.
    tries: int = 0
    next_at: AwareDatetime | None = None
    created_at: AwareDatetime
    attempts: list[Attempt] = Field(default_factory=list)

    def attempted(self, attempt: Attempt, state: State, next_at: datetime | None) -> "JobWebhook":
        """The webhook after an attempt."""
        return self.model_copy(
            update={
                "state": state,
                "tries": self.tries + 1,
                "next_at": next_at,
                "attempts": [*self.attempts, attempt][-_KEPT_ATTEMPTS:],
            }
        )


class Outbox:
    """Reads and writes webhooks. Safe to share between threads and gateways.

    A webhook is pending until its end was told or given up. What is told is written before what is
    pending is deleted, and a later round is pending again.
    """

    def __init__(self, *, objects: ObjectStore) -> None:
        self._objects = objects

    def begin(self, job_id: str, *, url: str, sealed_secret: str) -> JobWebhook:
        """Write the webhook of a job that is about to be made."""
        webhook = JobWebhook(
            job_id=job_id,
            id=f"msg_{secrets.token_hex(16)}",
            url=url,
            secret=sealed_secret,
            created_at=now(),
        )
        self.put(webhook)
        return webhook

    def put(self, webhook: JobWebhook) -> None:
        """Write a webhook that is pending."""
        self._objects.put(gateway_keys.pending_webhook(webhook.job_id), webhook.to_json())

    def settle(self, webhook: JobWebhook) -> None:
        """Write that nothing more is to be told."""
        self._objects.put(gateway_keys.told_webhook(webhook.job_id), webhook.to_json())
        self.drop(webhook.job_id)

    def drop(self, job_id: str) -> None:
        """Forget that something is pending."""
        self._objects.delete(gateway_keys.pending_webhook(job_id))

    def pending(self, job_id: str) -> JobWebhook | None:
        """The webhook, if something is to be told."""
        return self._read(gateway_keys.pending_webhook(job_id))

    def told(self, job_id: str) -> JobWebhook | None:
        """The webhook as it was settled last."""
        return self._read(gateway_keys.told_webhook(job_id))

    def has(self, job_id: str) -> bool:
        """Whether the job has a webhook."""
        return self.pending(job_id) is not None or self.told(job_id) is not None

    def forget(self, job_id: str) -> None:
        """Delete all that is known of the job's webhook."""
        self.drop(job_id)
        self._objects.delete(gateway_keys.told_webhook(job_id))

    def newest(self, job_id: str) -> JobWebhook:
        """The webhook as it stands.

        Raises:
            WebhookNotFoundError: The job has none.
        """
        told, pending = self.told(job_id), self.pending(job_id)
        if pending is not None and not (told and is_settled(pending, told)):
            return pending
        if told is None:
            raise WebhookNotFoundError(
                f"job {job_id} has no webhook; give one when you submit, as `webhook`"
            )
        return told

    def again(self, webhook: JobWebhook) -> JobWebhook:
        """Have the end told again, or once more at once."""
        anew = {"state": "retrying", "round": webhook.round + 1, "tries": 0, "next_at": now()}
        webhook = webhook.model_copy(update=anew)
        self.put(webhook)
        return webhook

    def pending_jobs(self) -> set[str]:
        """The jobs whose webhooks are pending."""
        listed = self._objects.list(gateway_keys.WEBHOOKS_PENDING_PREFIX)
        found = {gateway_keys.webhook_job(info.key) for info in listed}
        return {job_id for job_id in found if keys.is_name(job_id)}

    def forget_told(self, before: datetime) -> None:
        """Delete what was settled longer ago."""
        for info in self._objects.list(gateway_keys.WEBHOOKS_TOLD_PREFIX):
            if info.modified_at < before:
                self._objects.delete(info.key)

    def _read(self, key: str) -> JobWebhook | None:
        try:
            data = read_bounded(self._objects, key, most_bytes=_MOST_BYTES)
            return JobWebhook.from_json(data, where=key)
        except ObjectNotFoundError:
            return None
        except MessageError as exc:
            log.warning("webhook not readable", key=key, error=str(exc))
            return None


def is_settled(pending: JobWebhook, told: JobWebhook) -> bool:
    """Whether `told` is later than what is pending, which its gateway did not live to delete."""
    return told.id == pending.id and told.round >= pending.round
