"""Heads of answers, as servers and what stands before them write them."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

import pytest

from fornada.storage.s3.fast.connections import Answer


@contextmanager
def _answer(sent: bytes) -> Iterator[Answer]:
    """What a server sends before it closes the connection."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(sent)
        yield Answer(ours, method="GET")


def _begun(sent: bytes) -> tuple[int, bytes, bool]:
    """Status, body, and whether the connection can be used again."""
    with _answer(sent) as answer:
        answer.begin()
        return answer.status, answer.read(), not answer.will_close


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", (200, b"ab", True)),
        (b"HTTP/1.1 404\nCONTENT-LENGTH:1\n\na", (404, b"a", True)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"", True)),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 1\r\n\r\na", (200, b"a", False)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc", (200, b"abc", False)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 9\r\n\r\nabcdefgh",
         (200, b"abcdefg", True)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", (200, b"a", False)),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
         (200, b"a", True)),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
         (200, b"a", True)),
        (b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
         (403, b"abc", True)),
    ],
)  # fmt: skip
def test_a_plain_answer_is_read(sent: bytes, expected: tuple[int, bytes, bool]) -> None:
    assert expected == _begun(sent)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: folded\r\n into two\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + 101 * b"A: 1\r\n" + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + 2**16 * b"a" + b"\r\n\r\n",
    ],
)
def test_any_other_is_left_to_boto3(sent: bytes) -> None:
    with _answer(sent) as answer, pytest.raises(HTTPException):
        answer.begin()
