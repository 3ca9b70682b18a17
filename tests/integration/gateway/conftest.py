"""A gateway in front of a deployment in memory."""

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import uvicorn
from fastapi.testclient import TestClient

from fornada.settings import Settings
from fornada.tensors import ImagePreprocessing, InputTensor
from gateway.app import create_app
from gateway.auth.api_keys import ApiKeys
from gateway.auth.identity import Identity
from gateway.auth.rates import Rates
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from producer.client import Client
from producer.testing import in_memory_client

CLASSES = ["shirt", "shoe", "bag"]

#: Makes a caller with these scopes; several of one owner see the same jobs.
CallerOf = Callable[..., TestClient]


@pytest.fixture
def client() -> Iterator[Client]:
    """A client of a model `looks`, uint8 [items, 2, 2] in, three classes out."""
    with in_memory_client(
        model="looks",
        inputs=[
            InputTensor(
                name="inputs",
                dtype="uint8",
                shape=[2, 2],
                image=ImagePreprocessing(color="grayscale"),
            )
        ],
        classes=CLASSES,
        predict=lambda items: np.eye(3, dtype=np.float32)[items[:, 0, 0] % 3],
    ) as client:
        yield client


@pytest.fixture
def deployment(client: Client) -> Deployment:
    """The deployment in memory."""
    objects = client._models.objects
    identity = Identity(api_keys=ApiKeys(objects=objects), rates=Rates.in_memory())
    return Deployment.of(Settings(), objects=objects, client=client, identity=identity)


@pytest.fixture
def caller_of(deployment: Deployment) -> CallerOf:
    """Makes HTTP clients with a key of their own."""
    app = create_app(deployment)

    def of(*scopes: Scope, owner: str = "shop", **limits: object) -> TestClient:
        _, token = deployment.identity.api_keys.create(
            owner, scopes=scopes or list(Scope), **limits
        )
        return TestClient(
            app,
            base_url="http://127.0.0.1",
            headers={"Authorization": f"Bearer {token}"},
            raise_server_exceptions=False,
        )

    return of


@pytest.fixture
def caller(caller_of: CallerOf) -> TestClient:
    """A caller who may do all but the work of others."""
    return caller_of(*(scope for scope in Scope if scope is not Scope.ADMIN))


@pytest.fixture
def gateway_url(deployment: Deployment) -> Iterator[str]:
    """The address of a gateway that listens."""
    server = uvicorn.Server(
        uvicorn.Config(create_app(deployment), port=0, log_config=None, access_log=False)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    (socket,) = server.servers[0].sockets
    yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    server.should_exit = True
    thread.join()
