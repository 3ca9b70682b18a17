"""The webhooks of a deployment: given with a job, written with it, told, and told again."""

import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from fornada.coordination.interface import Coordination
from fornada.errors import JobNotFinishedError
from fornada.events import SILENT, Events
from fornada.jobs.manifest import JobManifest
from fornada.jobs.store import JobStore
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.trust.deployment_keys import DeploymentKeys
from gateway.webhooks.addresses import Addresses, Target
from gateway.webhooks.calls import WebhookCalls
from gateway.webhooks.deliveries import Deliveries
from gateway.webhooks.dispatcher import WebhookDispatcher
from gateway.webhooks.errors import WebhookNotFoundError
from gateway.webhooks.outbox import JobWebhook, Outbox
from gateway.webhooks.sealing import WebhookSecrets


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenWebhook:
    """A webhook that was checked, for a job that is about to be made."""

    url: str
    #: Writes it; called right before the job is made, and not for one that exists.
    write: Callable[[], None]


class Webhooks:
    """What a gateway's endpoints do with webhooks. Safe to share between threads."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        secrets: WebhookSecrets,
        addresses: Addresses,
        dispatcher: WebhookDispatcher,
    ) -> None:
        self._outbox = outbox
        self._secrets = secrets
        self._addresses = addresses
        #: Tells them, once it is started.
        self.dispatcher = dispatcher

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        objects: ObjectStore,
        coordination: Coordination,
        events: Events = SILENT,
    ) -> Self:
        """The webhooks of the deployment that `settings` name."""
        outbox = Outbox(objects=objects)
        sealing = WebhookSecrets(DeploymentKeys.from_settings(settings))
        addresses = Addresses.from_settings(settings)
        deliveries = Deliveries(
            outbox=outbox,
            jobs=JobStore(objects=objects),
            leases=coordination,
            calls=WebhookCalls(addresses),
            secrets=sealing,
            holder=f"{socket.gethostname()}-{secrets.token_hex(4)}",
            events=events,
        )
        dispatcher = WebhookDispatcher(outbox=outbox, deliveries=deliveries, jobs=coordination)
        return cls(outbox=outbox, secrets=sealing, addresses=addresses, dispatcher=dispatcher)

    def given(self, job_id: str, url: str, secret: str | None) -> GivenWebhook:
        """A webhook for a job.

        Args:
            job_id: The job, which may exist if the caller sends a request again.
            url: Called with the job's end.
            secret: The caller's own, `whsec_…`; `None` for one to be made.

        Raises:
            WebhookRefusedError: The URL or the secret is none that is taken.
            WebhooksOffError: The deployment has no keys.
        """
        self._addresses.check(Target.of(url))
        own = self._secrets.made(job_id, url) if secret is None else self._secrets.checked(secret)

        def write() -> None:
            sealed = self._secrets.seal(own, job_id, url)
            self._outbox.begin(job_id, url=url, sealed_secret=sealed)
            # Before the job exists, so that its end is heard.
            self.dispatcher.expect(job_id)

        return GivenWebhook(url=url, write=write)

    def carry_over(self, manifest: JobManifest, job_id: str) -> None:
        """Give a job that is about to be made the webhook of the one that it retries, if any."""
        if manifest.webhook is None or self._outbox.has(job_id):
            return
        try:
            kept = self._outbox.newest(manifest.job_id)
        except WebhookNotFoundError:
            return
        secret = self._secrets.open(kept.secret, kept.job_id, kept.url)
        self.given(job_id, kept.url, secret).write()

    def forget(self, job_id: str) -> None:
        """Forget the webhook of a job that was deleted."""
        self._outbox.forget(job_id)

    def shown_secret(self, job_id: str) -> str:
        """The secret that calls are signed with, for whoever makes the job.

        Raises:
            WebhookNotFoundError: The job has no webhook.
        """
        kept = self._outbox.newest(job_id)
        return self._secrets.open(kept.secret, job_id, kept.url)

    def newest(self, job_id: str) -> JobWebhook:
        """The job's webhook, and how telling it went.

        Raises:
            WebhookNotFoundError: The job has none.
        """
        return self._outbox.newest(job_id)

    def tell_again(self, job_id: str) -> JobWebhook:
        """Tell the webhook of a job that has ended once more, at once.

        Raises:
            WebhookNotFoundError: The job has none.
            JobNotFinishedError: The job has not ended, or its webhook was not tried yet.
        """
        webhook = self._outbox.newest(job_id)
        if webhook.state == "waiting":
            raise JobNotFinishedError(
                f"the webhook of job {job_id} waits for the job's end; it is told then"
            )
        again = self._outbox.again(webhook)
        self.dispatcher.expect(job_id)
        return again
