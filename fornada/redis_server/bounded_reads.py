"""Reads of a connection that keep the beginning of what is too large, and pass over the rest.

Redis gives a worker the element that it pops, of whatever size. On a hosted server nobody can set
`proto-max-bulk-len`, and one of 512 MB would be the end of a container.
"""

# ruff: noqa: SLF001 - redis-py has no door to its buffers

from typing import Any

from redis._parsers.socket import SocketBuffer
from redis.utils import SENTINEL


class BoundedBuffer(SocketBuffer):
    """A buffer whose reads return `most_bytes` and one more, at most."""

    def __init__(self, whole: SocketBuffer, *, most_bytes: int) -> None:
        """Take over the socket of `whole`, and what it has read."""
        super().__init__(whole._sock, whole.socket_read_size, whole.socket_timeout)
        self._buffer = whole._buffer
        self._most_bytes = most_bytes

    def read(self, length: int, timeout: Any = SENTINEL) -> bytes:
        """As redis-py's, of a value of `length` bytes and the end of line after it."""
        if length <= self._most_bytes:
            return super().read(length, timeout=timeout)
        kept = bytearray()
        left = length + len(b"\r\n")
        while left:
            if not self.unread_bytes():
                # Else all of it would stay in the buffer. A failure cuts the connection.
                self.purge()
                self._read_from_socket(timeout=timeout)
            part = self._buffer.read(left)
            left -= len(part)
            kept += part[: self._most_bytes + 1 - len(kept)]
        return bytes(kept)


def bounded(connection_class: type[Any], *, most_bytes: int) -> type:
    """A class of redis-py's connections whose reads are bounded."""

    class Bounded(connection_class):  # type: ignore[misc]  # any of redis-py's classes
        """A connection that reads `most_bytes` of a value, and one more."""

        def on_connect_check_health(self, *args: Any, **kwargs: Any) -> None:
            super().on_connect_check_health(*args, **kwargs)
            parser = self._parser
            # hiredis has no such buffer.
            if type(parser._buffer) is SocketBuffer:
                parser._buffer = BoundedBuffer(parser._buffer, most_bytes=most_bytes)

    return Bounded
