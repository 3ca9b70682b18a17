"""Tell a webhook that its job has ended: one attempt, and when the next one is."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus

from pydantic import BaseModel
from standardwebhooks import Webhook

from fornada import __version__
from fornada.coordination.interface import OpenJobs
from fornada.errors import BrokerError, JobNotFoundError
from fornada.events import SILENT, Events
from fornada.events.serving import WebhookCalled
from fornada.jobs.outcome import JobFinal
from fornada.jobs.store import JobStore
from fornada.logs import get_logger
from fornada.records import now
from gateway.api.job_document import JobLinks
from gateway.webhooks.addresses import Target
from gateway.webhooks.calls import CALL_WITHIN_S, WebhookCalls
from gateway.webhooks.errors import WebhookCallError, WebhookRefusedError
from gateway.webhooks.outbox import Attempt, JobWebhook, Outbox, is_settled
from gateway.webhooks.sealing import WebhookSecrets

log = get_logger(__name__)

_MINUTE_S, _HOUR_S = 60, 3600
#: Time from one attempt to the next: three days in all.
RETRY_AFTER_S = (
    5,
    30,
    2 * _MINUTE_S,
    10 * _MINUTE_S,
    30 * _MINUTE_S,
    *(hours * _HOUR_S for hours in (1, 2, 4, 8, 12, 12, 12, 20)),
)
#: Retries are spread by this share, or those of one receiver would come together.
_SPREAD = 0.1
#: One gateway at a time tells a webhook. Looking up a host has no limit of its own.
_LEASE_S = 3 * CALL_WITHIN_S
#: Calls of one host at a time, or a slow one would hold up all others; and when the rest come.
_CALLS_PER_HOST = 4
_BUSY_HOST_S = 0.5
#: A webhook whose job was not made within this time belongs to a submission that failed.
_MADE_WITHIN = timedelta(hours=1)


class Left(StrEnum):
    """What is left to do, if no time is."""

    #: The job has not ended.
    WAIT = "wait"
    NOTHING = "nothing"


class EndedJob(BaseModel):
    """What a webhook says of a job that has ended."""

    class Counts(BaseModel):
        """Items with and without a result."""

        ok: int
        failed: int

    id: str
    state: str
    counts: Counts
    reason: str | None
    started_at: datetime | None
    ended_at: datetime
    links: JobLinks


class JobEndedEvent(BaseModel):
    """The body of a webhook's call."""

    type: str = "job.ended"
    timestamp: datetime
    data: EndedJob

    @classmethod
    def of(cls, final: JobFinal) -> "JobEndedEvent":
        """What is told of an end."""
        ended = EndedJob(
            id=final.job_id,
            state=final.state,
            counts=EndedJob.Counts(ok=final.items_ok, failed=final.items_failed),
            reason=final.reason,
            started_at=final.started_at,
            ended_at=final.ended_at,
            links=JobLinks.of(final.job_id),
        )
        return cls(timestamp=final.ended_at, data=ended)


class Deliveries:
    """Delivers webhooks: at least once each, and rarely more often.

    Args:
        outbox: Has them.
        jobs: Has the jobs' ends.
        leases: Keep gateways from telling the same at the same time.
        calls: Calls.
        secrets: Opens the secrets.
        holder: This gateway's name.
        events: Hears of each call.
        clock: The time.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        jobs: JobStore,
        leases: OpenJobs,
        calls: WebhookCalls,
        secrets: WebhookSecrets,
        holder: str,
        events: Events = SILENT,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._outbox = outbox
        self._jobs = jobs
        self._leases = leases
        self._calls = calls
        self._secrets = secrets
        self._holder = holder
        self._events = events
        self._clock = clock
        self._lock = threading.Lock()
        self._calling: Counter[str] = Counter()

    def attend(self, job_id: str) -> Left | datetime:
        """Tell the job's webhook of its end, if it is time to; return when to attend to it next.

        Raises:
            StoreError: The store cannot be reached; it may have been told.
        """
        webhook = self._outbox.pending(job_id)
        if webhook is None:
            return Left.NOTHING
        if webhook.next_at is not None and webhook.next_at > self._clock():
            return webhook.next_at
        final = self._jobs.final(job_id)
        if final is None:
            return self._left_of_open(webhook)
        with self._slot(Target.of(webhook.url).host) as is_free:
            if not is_free:
                return self._clock() + timedelta(seconds=_BUSY_HOST_S)
            return self._deliver(webhook, final)

    def _deliver(self, webhook: JobWebhook, final: JobFinal) -> Left | datetime:
        job_id = webhook.job_id
        if not self._is_mine(job_id):
            return self._clock() + timedelta(seconds=_LEASE_S)
        told = self._outbox.told(job_id)
        if told is not None and is_settled(webhook, told):
            self._outbox.drop(job_id)
            return Left.NOTHING
        return self._note(webhook, self._attempt(webhook, final))

    def _left_of_open(self, webhook: JobWebhook) -> Left:
        if self._clock() - webhook.created_at < _MADE_WITHIN:
            return Left.WAIT
        try:
            self._jobs.require(webhook.job_id)
        except JobNotFoundError:
            self._outbox.drop(webhook.job_id)
            return Left.NOTHING
        return Left.WAIT

    def _is_mine(self, job_id: str) -> bool:
        try:
            return self._leases.hold_job_lease("webhook", job_id, self._holder, lease_s=_LEASE_S)
        except BrokerError:
            # Better twice than late.
            return True

    @contextmanager
    def _slot(self, host: str) -> Iterator[bool]:
        with self._lock:
            is_free = self._calling[host] < _CALLS_PER_HOST
            self._calling[host] += is_free
        try:
            yield is_free
        finally:
            with self._lock:
                self._calling[host] -= is_free
                if not self._calling[host]:
                    del self._calling[host]

    def _attempt(self, webhook: JobWebhook, final: JobFinal) -> Attempt:
        at = self._clock()
        try:
            secret = self._secrets.open(webhook.secret, webhook.job_id, webhook.url)
            body = JobEndedEvent.of(final).model_dump_json()
            headers = {
                "Content-Type": "application/json",
                "User-Agent": f"Fornada/{__version__}",
                "webhook-id": webhook.id,
                "webhook-timestamp": str(int(at.timestamp())),
                "webhook-signature": Webhook(secret).sign(webhook.id, at, body),
            }
            status = self._calls.post(Target.of(webhook.url), headers, body.encode())
        except (WebhookCallError, WebhookRefusedError) as exc:
            log.debug("webhook not called", job_id=webhook.job_id, why=str(exc))
            return Attempt(at=at, error=exc.public_text[:500])
        moved = 300 <= status < 400  # noqa: PLR2004 - HTTP
        return Attempt(at=at, status=status, error="redirects are not followed" if moved else None)

    def _note(self, webhook: JobWebhook, attempt: Attempt) -> Left | datetime:
        """Write how the attempt went."""
        facts = {"job_id": webhook.job_id, "webhook_id": webhook.id, "tries": webhook.tries + 1}
        if attempt.is_delivered:
            log.info("webhook delivered", **facts)
            self._events.tell(WebhookCalled(result="delivered"))
            self._outbox.settle(webhook.attempted(attempt, "delivered", None))
            return Left.NOTHING
        why = attempt.error or f"answered {attempt.status}"
        if attempt.status == HTTPStatus.GONE or webhook.tries >= len(RETRY_AFTER_S):
            is_gone = attempt.status == HTTPStatus.GONE
            log.warning("webhook given up", **facts, why=why)
            self._events.tell(WebhookCalled(result="gone" if is_gone else "given_up"))
            self._outbox.settle(webhook.attempted(attempt, "gone" if is_gone else "given up", None))
            return Left.NOTHING
        spread = random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311 - no secret
        next_at = attempt.at + timedelta(seconds=RETRY_AFTER_S[webhook.tries] * spread)
        log.warning("webhook not delivered", **facts, why=why, again_at=f"{next_at:%FT%TZ}")
        self._events.tell(WebhookCalled(result="retrying"))
        self._outbox.put(webhook.attempted(attempt, "retrying", next_at))
        return next_at
