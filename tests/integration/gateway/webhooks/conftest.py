"""A gateway that tells webhooks, in front of a deployment in memory whose jobs nobody runs."""

from collections.abc import Callable, Iterator

import httpx2
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from fornada.settings import Settings
from fornada.trust.deployment_keys import new_key
from gateway.app import create_app
from gateway.auth.api_keys import ApiKeys
from gateway.auth.identity import Identity
from gateway.auth.rates import Rates
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from producer.client import Client
from producer.testing import in_memory_client

from .receiver import Receiver

BODY = {"model": "m", "input": {"type": "inline", "items": [[[0, 0], [0, 0]]]}}


class Gateways:
    """Gateways on one store and one Redis, which tell webhooks while the block runs."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.objects = client._models.objects
        self.settings = Settings(deployment_keys=SecretStr(new_key()), webhook_hosts="127.0.0.1")
        self._started: list[Deployment] = []

    def add(self, *, tells: bool = True, **changed: object) -> TestClient:
        """A caller of another gateway."""
        deployment = Deployment.of(
            self.settings.model_copy(update=changed),
            objects=self.objects,
            client=self.client,
            identity=Identity(api_keys=ApiKeys(objects=self.objects), rates=Rates.in_memory()),
        )
        if tells:
            deployment.webhooks.dispatcher.start()
            self._started.append(deployment)
        _, token = deployment.identity.api_keys.create("shop", scopes=list(Scope))
        return TestClient(
            create_app(deployment),
            base_url="http://127.0.0.1",
            headers={"Authorization": f"Bearer {token}"},
        )

    def stop(self) -> None:
        """Stop all that tell."""
        for deployment in self._started:
            deployment.webhooks.dispatcher.stop()


@pytest.fixture
def gateways() -> Iterator[Gateways]:
    with in_memory_client(
        model="m", item_shape=[2, 2], classes=["a", "b"], run_at_once=False
    ) as client:
        gateways = Gateways(client)
        yield gateways
        gateways.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as receiver:
        yield receiver


#: Submits a job with a webhook; more of the webhook by name.
Submit = Callable[..., httpx2.Response]


@pytest.fixture
def submit(receiver: Receiver) -> Submit:
    def make(caller: TestClient, *, key: str | None = None, **webhook: object) -> httpx2.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        asked = {**BODY, "webhook": {"url": receiver.url, **webhook}}
        return caller.post("/v1/jobs", json=asked, headers=headers)

    return make
