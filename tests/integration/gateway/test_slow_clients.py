"""Clients that send or read slowly do not hold the gateway."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.http import heads
from gateway.http.heads import MAX_HEAD_BYTES, BoundedHeads
from gateway.http.patience import Patience

_WHOLE = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body; answers with 64 MiB, if that is asked for, and else with its size."""
    size_bytes, more = 0, True
    while more:
        message = await receive()
        size_bytes += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(1024 if scope["path"] == "/large" else 0):
        await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
    await send({"type": "http.response.body", "body": b"%d" % size_bytes})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server that waits 0.3 s for anything."""
    monkeypatch.setattr(heads, "_HEAD_WITHIN_S", 0.3)
    app: ASGIApp = Patience(_echo, idle_s=0.3, least_bytes_per_s=1000)
    server = uvicorn.Server(
        uvicorn.Config(app, http=BoundedHeads, log_config=None, port=0, lifespan="off")
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(
            target=partial(asyncio.run, server.serve(sockets=[listening])), daemon=True
        )
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def _exchange(port: int, *parts: bytes, pause_s: float = 0.0, read: bool = True) -> bytes:
    """Send the parts with pauses between; return all that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        answer = b""
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause_s)
            while read and (some := connection.recv(65536)):
                answer += some
        except ConnectionError:
            pass
        return answer


def test_a_whole_request_is_answered_on_a_connection_that_stays(port: int) -> None:
    kept = _WHOLE.replace(b"Connection: close\r\n", b"")

    answer = _exchange(port, kept, b"G", b"ET" + _WHOLE[3:], pause_s=0.05)

    assert 2 == answer.count(b"200 OK")


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: here\r\nX-A: "])
def test_a_connection_without_whole_headers_is_closed(port: int, begun: bytes) -> None:
    assert b"" == _exchange(port, begun)


def test_headers_that_come_byte_by_byte_are_not_waited_for(port: int) -> None:
    parts = [bytes([byte]) for byte in _WHOLE]

    assert b"" == _exchange(port, *parts, pause_s=0.03)


def test_headers_without_end_are_refused(port: int) -> None:
    answer = _exchange(port, b"GET / HTTP/1.1\r\n", b"X: " + b"a" * MAX_HEAD_BYTES, b"a" * 70_000)

    assert answer.startswith(b"HTTP/1.1 431 ")


def test_a_body_that_trickles_is_refused(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n"

    # Closed while it still sends, a client may not see the answer.
    answer = _exchange(port, head, *[b"a"] * 5, pause_s=0.05)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"SlowClientError" in answer


def test_an_answer_that_nobody_reads_is_cut_off(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(_WHOLE.replace(b"GET /", b"GET /large"))
        time.sleep(1)
        size_bytes = 0
        with contextlib.suppress(ConnectionError):
            while some := connection.recv(65536):
                size_bytes += len(some)
    assert size_bytes < 64 * 1024 * 1024
