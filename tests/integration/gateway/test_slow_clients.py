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
    """Reads the body, or not; answers with 64 MiB, if that is asked for, and else with its size."""
    size_bytes, more = 0, scope["path"] != "/early"
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
    with _served(Patience(_echo, idle_s=0.3, least_bytes_per_s=1000), BoundedHeads) as port:
        yield port


@contextlib.contextmanager
def _served(app: ASGIApp, protocol: type[BoundedHeads]) -> Iterator[int]:
    server = uvicorn.Server(
        uvicorn.Config(app, http=protocol, log_config=None, port=0, lifespan="off")
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


def _send(connection: socket.socket, data: bytes, times: int, *, pause_s: float = 0.0) -> None:
    for _ in range(times):
        connection.sendall(data)
        time.sleep(pause_s)


_CHUNKED = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(b"0\r\n" + b"a: b\r\n" * 100_000, id="trailers"),
        pytest.param(b"0\r\na: " + b"b" * 600_000, id="a trailer"),
        pytest.param(b"1;" + b"a" * 600_000, id="an extension of a chunk"),
    ],
)
def test_what_is_neither_headers_nor_body_is_not_kept(port: int, flood: bytes) -> None:
    # It goes on until the client is cut off.
    assert b"" == _exchange(port, _CHUNKED, flood, flood)


def test_chunks_of_one_byte_are_taken(port: int) -> None:
    answer = _exchange(port, _CHUNKED, b"1\r\na\r\n" * 20_000 + b"0\r\na: b\r\n\r\n", _WHOLE)

    assert b"20000" in answer


def test_trailers_are_no_headers() -> None:
    seen = []

    class Kept(BoundedHeads):
        def on_message_complete(self) -> None:
            seen.extend(self.headers)
            super().on_message_complete()

    with _served(_echo, Kept) as port:
        _exchange(port, _CHUNKED, b"0\r\nAuthorization: Bearer x\r\n\r\n" + _WHOLE)

    assert {b"host", b"transfer-encoding", b"connection"} == {name for name, _ in seen}


def test_requests_beyond_a_few_do_not_wait_for_answers(port: int) -> None:
    kept = _WHOLE.replace(b"Connection: close\r\n", b"")

    # Cut off in the middle: the first answer is of 64 MiB, and nobody reads it.
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(kept.replace(b"GET /", b"GET /large"))
        with pytest.raises(ConnectionError):
            _send(connection, kept * 17, 100_000)


def test_a_few_requests_at_once_are_answered_in_order(port: int) -> None:
    kept = _WHOLE.replace(b"Connection: close\r\n", b"")

    assert 9 == _exchange(port, kept * 8 + _WHOLE).count(b"200 OK")


def test_a_body_that_nobody_waits_for_ends_soon(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "_REST_WITHIN_S", 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"POST /early HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n")
        answer = connection.recv(65536)

        with pytest.raises(ConnectionError):
            _send(connection, b"a", 900, pause_s=0.01)

    assert answer.startswith(b"HTTP/1.1 200 OK")


def test_a_body_that_comes_after_its_answer_leaves_the_connection(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "_REST_WITHIN_S", 0.2)
    head = b"POST /early HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n"

    answer = _exchange(port, head, b"ab", *[b""] * 3, _WHOLE, pause_s=0.1)

    assert 2 == answer.count(b"200 OK")
