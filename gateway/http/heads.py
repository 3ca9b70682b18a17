"""What a request has beside its body has to come soon, and be short."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Of the line and the headers, in bytes.
MAX_HEAD_BYTES = 32 * 1024
_HEAD_WITHIN_S = 10.0
#: After the headers, without a byte of a body: sizes of chunks, their extensions, trailers. One
#: read may bring 256 KiB, and is looked at as a whole.
_MOST_BYTES_BETWEEN = 32 * 1024
#: Requests that wait for the answer to the one before.
_MOST_WAITING = 16
#: How long a body that nobody waits for any more may go on to come.
_REST_WITHIN_S = 10.0
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)


class TooManyRequestsError(Exception):
    """A client sends requests without waiting for their answers."""


class BoundedHeads(HttpToolsProtocol):
    """uvicorn's protocol, which by itself waits without end, and keeps trailers and requests."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._bytes_between = 0
        self._is_whole = True
        self._rest_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take what came, unless the headers are too long."""
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not _ends_head(data):
                self._refuse()
                return
        self._bytes_between += len(data)
        super().data_received(data)
        if not self._is_whole and self._bytes_between > _MOST_BYTES_BETWEEN:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin to wait for the headers of the next request."""
        super().on_message_begin()
        self._is_whole = True
        self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, and no trailer: nothing here reads one."""
        if self._is_whole:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The headers are there.

        Raises:
            TooManyRequestsError: Too many requests wait for an answer.
        """
        self._stop_waiting()
        if len(self.pipeline) >= _MOST_WAITING:
            raise TooManyRequestsError
        self._is_whole = False
        self._bytes_between = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take some of the body."""
        self._bytes_between = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of the request is there."""
        self._is_whole = True
        self._forget_rest()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is sent; the client may have been answered before it sent all."""
        super().on_response_complete()
        if self.pipeline:
            # uvicorn reads on, whoever waits.
            self.flow.pause_reading()
        elif not self._is_whole and self._rest_timer is None:
            self._rest_timer = self.loop.call_later(_REST_WITHIN_S, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, unless an answer to another one is being sent."""
        if self.cycle is None or self.cycle.response_complete:
            super().send_400_response(msg)
        else:
            # Whoever does not read would keep one that is only closed.
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        self._forget_rest()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(_HEAD_WITHIN_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _forget_rest(self) -> None:
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None

    def _refuse(self) -> None:
        self._stop_waiting()
        self.transport.write(_TOO_LARGE)
        self.transport.close()


def _ends_head(data: bytes) -> bool:
    # One read may bring a short head and much of the body.
    return 0 <= data.find(b"\r\n\r\n") <= MAX_HEAD_BYTES
