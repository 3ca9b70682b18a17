"""When webhooks are told again, and when no more; the clock is the test's."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from fornada.errors import BrokerError
from fornada.events import Event, Events
from fornada.events.serving import WebhookCalled
from fornada.jobs.store import JobStore
from fornada.trust.deployment_keys import DeploymentKeys
from gateway.webhooks.addresses import Addresses
from gateway.webhooks.calls import WebhookCalls
from gateway.webhooks.deliveries import Deliveries, Left
from gateway.webhooks.outbox import Outbox
from gateway.webhooks.sealing import WebhookSecrets
from producer.client import Client
from producer.job import Job
from producer.submitting.submission import Submission
from producer.testing import in_memory_client

from .receiver import Receiver

_SECRETS = WebhookSecrets(DeploymentKeys([bytes(32)]))


class _World:
    """A job, its webhook, and gateways by one clock."""

    def __init__(self, client: Client, receiver: Receiver) -> None:
        self.at = datetime.now(UTC) + timedelta(minutes=1)
        self.client = client
        self.receiver = receiver
        self.outbox = Outbox(objects=client._models.objects)
        self.heard: list[Event] = []

    def job(self) -> Job:
        """A job with a webhook."""
        self.begin("night")
        one = Submission(inputs=[[[0, 0], [0, 0]]], idempotency_key="night")
        return self.client.submit_many([one], model="m")[0]

    def begin(self, job_id: str) -> None:
        """Write a webhook."""
        url = self.receiver.url
        sealed = _SECRETS.seal(_SECRETS.made(job_id, url), job_id, url)
        self.outbox.begin(job_id, url=url, sealed_secret=sealed)

    def gateway(self, holder: str = "a", *, secrets: WebhookSecrets = _SECRETS) -> Deliveries:
        """A gateway."""
        allowed = Addresses(allowed_hosts=frozenset({"127.0.0.1"}))
        return Deliveries(
            outbox=self.outbox,
            jobs=JobStore(objects=self.client._models.objects),
            leases=self.client.coordination,
            calls=WebhookCalls(allowed),
            secrets=secrets,
            holder=holder,
            events=Events(self.heard.append),
            clock=lambda: self.at,
        )


@pytest.fixture
def world(receiver: Receiver) -> Iterator[_World]:
    with in_memory_client(
        model="m", item_shape=[2, 2], classes=["a", "b"], run_at_once=False
    ) as client:
        yield _World(client, receiver)


def test_a_receiver_is_called_for_three_days_ever_more_rarely(world: _World) -> None:
    world.job().cancel()
    world.receiver.statuses = [500] * 20
    began, times = world.at, []

    left: Left | datetime = world.at
    while isinstance(left, datetime):
        world.at = left
        times.append(left - began)
        left = world.gateway().attend("night")

    assert Left.NOTHING == left
    assert 14 == len(times) == len(world.receiver.calls)
    assert timedelta(hours=64) < times[-1] < timedelta(hours=80)
    assert times[1] < timedelta(seconds=6)
    assert "given up" == world.outbox.newest("night").state
    assert 14 == len(world.outbox.newest("night").attempts)
    called = [WebhookCalled(result="retrying")] * 13 + [WebhookCalled(result="given_up")]
    assert called == world.heard


def test_nothing_is_told_before_its_time_or_of_a_job_at_work(world: _World) -> None:
    job = world.job()
    assert Left.WAIT == world.gateway().attend(job.id)

    job.cancel()
    world.receiver.statuses = [500]
    again_at = world.gateway().attend(job.id)
    assert again_at == world.gateway().attend(job.id)

    assert 1 == len(world.receiver.calls)


def test_a_gateway_that_died_after_the_call_is_no_reason_to_call_again(world: _World) -> None:
    world.job().cancel()
    pending = world.outbox.pending("night")
    assert pending is not None
    world.gateway().attend("night")

    # Its last step, to delete what is pending, is undone.
    world.outbox.put(pending)
    assert Left.NOTHING == world.gateway().attend("night")

    assert 1 == len(world.receiver.calls)
    assert None is world.outbox.pending("night")


def test_one_gateway_at_a_time_tells(world: _World) -> None:
    job = world.job()
    job.cancel()
    world.client.coordination.hold_job_lease("webhook", job.id, "b", lease_s=60)

    assert isinstance(world.gateway("a").attend(job.id), datetime)
    assert [] == world.receiver.calls
    assert Left.NOTHING == world.gateway("b").attend(job.id)


def test_without_redis_a_webhook_is_told_nevertheless(
    world: _World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.job()
    job.cancel()

    def fail(*_: object, **__: object) -> bool:
        raise BrokerError("away")

    monkeypatch.setattr(world.client.coordination, "hold_job_lease", fail)

    assert Left.NOTHING == world.gateway().attend(job.id)
    assert 1 == len(world.receiver.calls)


def test_the_webhook_of_a_job_that_was_never_made_is_forgotten(world: _World) -> None:
    world.begin("never")
    assert Left.WAIT == world.gateway().attend("never")

    world.at += timedelta(hours=2)

    assert Left.NOTHING == world.gateway().attend("never")
    assert None is world.outbox.pending("never")
    job = world.job()
    world.at += timedelta(days=6)
    assert Left.WAIT == world.gateway().attend(job.id)


def test_a_secret_of_a_lost_key_is_said_and_tried_again(world: _World) -> None:
    world.job().cancel()
    gateway = world.gateway(secrets=WebhookSecrets(DeploymentKeys([b"x" * 32])))

    assert isinstance(gateway.attend("night"), datetime)

    (attempt,) = world.outbox.newest("night").attempts
    assert "FORNADA_DEPLOYMENT_KEYS has not" in (attempt.error or "")
    assert [] == world.receiver.calls
