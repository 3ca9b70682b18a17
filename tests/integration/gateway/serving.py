"""A gateway that listens, in front of a client in memory."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial

import uvicorn
from fastapi import FastAPI

from fornada.settings import Settings
from gateway.app import create_app
from gateway.auth.api_keys import ApiKeys
from gateway.auth.identity import Identity
from gateway.auth.rates import Rates
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from gateway.http.heads import BoundedHeads
from producer.client import Client


def gateway_of(client: Client, *, scopes: Sequence[Scope]) -> tuple[FastAPI, str]:
    """The gateway in front of `client`, and a key with the scopes."""
    objects = client._models.objects
    identity = Identity(api_keys=ApiKeys(objects=objects), rates=Rates.in_memory())
    deployment = Deployment.of(Settings(), objects=objects, client=client, identity=identity)
    _, key = identity.api_keys.create("shop", scopes=scopes)
    return create_app(deployment), key


@contextlib.contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The host and port of a server of `app`."""
    config = uvicorn.Config(app, http=BoundedHeads, log_config=None, port=0, lifespan="off")
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(
            target=partial(asyncio.run, server.serve(sockets=[listening])), daemon=True
        )
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()
