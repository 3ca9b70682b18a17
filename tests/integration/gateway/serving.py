"""A gateway on a real socket, in this process."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import httpx2
from fastapi import FastAPI

from fornada.settings import Settings
from gateway.app import create_app
from gateway.auth.api_keys import ApiKeys
from gateway.auth.identity import Identity
from gateway.auth.rates import Rates
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from gateway.server import GatewayServer
from producer.client import Client


def gateway_of(client: Client, *, scopes: Sequence[Scope]) -> tuple[FastAPI, str]:
    """The gateway in front of `client`, and a key with the scopes."""
    objects = client._models.objects
    identity = Identity(api_keys=ApiKeys(objects=objects), rates=Rates.in_memory())
    deployment = Deployment.of(Settings(), objects=objects, client=client, identity=identity)
    _, key = identity.api_keys.create("shop", scopes=scopes)
    return create_app(deployment), key


@contextmanager
def running(
    app: FastAPI, *, port: int = 0, send_buffer_bytes: int | None = None
) -> Iterator[tuple[GatewayServer, int]]:
    """Serve `app`; yields the server and its port."""
    server = GatewayServer(app, host="127.0.0.1", port=port)
    with socket.create_server(("127.0.0.1", port), backlog=2048) as listening:
        if send_buffer_bytes is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        thread = threading.Thread(
            target=partial(asyncio.run, server.serve(sockets=[listening])), daemon=True
        )
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield server, listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@contextmanager
def served(app: FastAPI, *, port: int = 0) -> Iterator[str]:
    """Serve `app`; yields its URL."""
    with running(app, port=port) as (_, served_port):
        yield f"http://127.0.0.1:{served_port}"


class Event(NamedTuple):
    """A server-sent event."""

    name: str
    data: Any


def events_of(answer: httpx2.Response) -> Iterator[Event]:
    """The events of a stream, as they come; a comment is an event without data."""
    name, data = "", ""
    for line in answer.iter_lines():
        field, _, value = line.partition(":")
        if field == "event":
            name = value.strip()
        elif field == "data":
            data = value
        elif line.startswith(":"):
            yield Event("comment", None)
        elif not line and name:
            yield Event(name, json.loads(data))
            name = ""
