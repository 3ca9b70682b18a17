"""Connections to S3 servers, over TLS or plain HTTP, kept for reuse."""

import contextlib
import io
import re
import select
import socket
import ssl
import urllib.parse
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.client import HTTP_PORT, HTTPS_PORT, BadStatusLine, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, cast

from fornada.storage.s3.fast.signing import Request
from fornada.storage.s3.limits import Limits, ThroughputGuard

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


#: The longest rest of an answer that is read to keep a connection; beyond, a new one is cheaper.
_MOST_LEFT_BYTES = 64 * 1024
_PIECE_BYTES = 1024 * 1024
#: The longest body that is sent together with its headers.
_MOST_JOINED_BYTES = 64 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})[ \r\n]")
_MOST_LINE_BYTES = 64 * 1024
_MOST_FIELDS = 100
_HTTP_1_0, _HTTP_1_1 = 10, 11
_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Connections:
    """Connections to servers, each kept for reuse if its answer was read to the end."""

    def __init__(
        self, *, limits: Limits, most_idle: int, tls: Callable[[], ssl.SSLContext]
    ) -> None:
        """Make no connection yet.

        Args:
            limits: How long a connection and each packet may take.
            most_idle: The most connections that are kept for each server.
            tls: Makes the context that verifies certificates, once the first is met.
        """
        self._limits = limits
        self._most_idle = most_idle
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None
        #: By scheme, host and port.
        self._idle: dict[tuple[str, str], deque[_Connection]] = defaultdict(deque)
        weakref.finalize(self, _close_all, self._idle)

    @contextlib.contextmanager
    def answer(self, request: Request, user_agent: str) -> Iterator["Answer | None"]:
        """The server's answer to the request; `None` if the connection breaks.

        Raises:
            CaBundleError: The file of certificates cannot be read.
            ssl.SSLCertVerificationError: The server's certificate is not trusted.
        """
        idle = self._idle[request.server]
        connection = self._borrow(idle, request.server)
        try:
            answer = connection.ask(request, user_agent)
        except (HTTPException, OSError) as exc:
            connection.close()
            if isinstance(exc, ssl.SSLCertVerificationError):
                raise
            yield None
            return
        except BaseException:
            connection.close()
            raise
        try:
            yield answer
            if answer.length is not None and answer.length <= _MOST_LEFT_BYTES:
                answer.read()
        except (HTTPException, OSError):
            connection.close()
        finally:
            whole = answer.isclosed() and not answer.will_close
            if whole and len(idle) < self._most_idle:
                idle.append(connection)
            else:
                connection.close()

    def _borrow(self, idle: deque["_Connection"], server: tuple[str, str]) -> "_Connection":
        with contextlib.suppress(IndexError):
            while True:
                connection = idle.pop()
                if connection.is_open():
                    return connection
                connection.close()
        scheme, address = server
        if scheme == "https" and self._tls is None:
            self._tls = self._make_tls()
        tls = self._tls if scheme == "https" else None
        return _Connection(address, limits=self._limits, tls=tls)


def _close_all(idle: dict[tuple[str, str], deque["_Connection"]]) -> None:
    for connections in idle.values():
        for connection in connections:
            connection.close()


class Answer(HTTPResponse):
    """A server's answer, whose body is read in one call and still watched for its throughput.

    The bytes are not copied: 8 MB take 1.5 ms of CPU, 3.7 ms piece by piece into a buffer, and
    10 ms through boto3.
    """

    def __init__(self, sock: socket.socket, *, method: str) -> None:
        self._packets = _Packets(sock)
        super().__init__(cast(socket.socket, self._packets), method=method)
        #: Its headers, by their names in lower case.
        self.fields: dict[str, str] = {}

    def begin(self) -> None:
        """Read the status and the headers; the base class does so with a parser made for mail.

        Raises:
            HTTPException: It is no plain answer.
        """
        status = int(HTTPStatus.CONTINUE)
        while status == HTTPStatus.CONTINUE:
            status = self._read_status_line()
            self.fields = self._read_fields()
        self.status = self.code = status
        self.chunked = self.fields.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        length = self.fields.get("content-length", "")
        self.length = int(length) if length.isdecimal() and not self.chunked else None
        if status in _WITHOUT_BODY:
            self.length = 0
        said = self.fields.get("connection", "").lower()
        stays = "close" not in said if self.version == _HTTP_1_1 else "keep-alive" in said
        self.will_close = not stays or (self.length is None and not self.chunked)

    def _read_status_line(self) -> int:
        line = self.fp.readline(_MOST_LINE_BYTES)
        found = _STATUS_LINE.match(line)
        if found is None:
            # Among them none at all, of a server that has closed the connection.
            raise BadStatusLine(repr(line[:80]))
        self.version = _HTTP_1_0 if found[1] == b"0" else _HTTP_1_1
        return int(found[2])

    def _read_fields(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        for _ in range(_MOST_FIELDS):
            line = self.fp.readline(_MOST_LINE_BYTES)
            if line in {b"\r\n", b"\n"}:
                return fields
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not line.endswith(b"\n"):
                raise HTTPException(f"no header: {line[:80]!r}")
            fields.setdefault(name.lower(), value.strip())
        raise HTTPException(f"over {_MOST_FIELDS} headers")

    def read_paced(self, size_bytes: int, *, pace: ThroughputGuard) -> bytes | None:
        """The next `size_bytes` of the body; `None` if the connection breaks.

        Raises:
            TooSlowError: The throughput is too low.
        """
        self._packets.pace = pace
        try:
            data = self.read(size_bytes)
        except (HTTPException, OSError):
            return None
        return data if len(data) == size_bytes else None

    def read_whole(self, most_bytes: int, *, pace: ThroughputGuard) -> bytes | None:
        """The body, whether or not it states its size; `None` if it has more, or breaks off.

        Raises:
            TooSlowError: The throughput is too low.
        """
        self._packets.pace = pace
        try:
            data = self.read(most_bytes + 1)
        except (HTTPException, OSError):
            return None
        # A body of a stated size that breaks off is not closed.
        return data if len(data) <= most_bytes and self.isclosed() else None

    def copy_paced(
        self, size_bytes: int, write: Callable[[memoryview], object], *, pace: ThroughputGuard
    ) -> bool:
        """Pass the next `size_bytes` of the body to `write`; `False` if the connection breaks.

        Raises:
            TooSlowError: The throughput is too low.
        """
        self._packets.pace = pace
        buffer, left_bytes = memoryview(bytearray(_PIECE_BYTES)), size_bytes
        while left_bytes:
            try:
                got_bytes = self.readinto(buffer[:left_bytes])
            except (HTTPException, OSError):
                return False
            if not got_bytes:
                return False
            write(buffer[:got_bytes])
            left_bytes -= got_bytes
        return True


class _Packets(io.RawIOBase):
    """The bytes of a connection, counted packet by packet."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        #: Watches the body, once that is read.
        self.pace: ThroughputGuard | None = None

    def makefile(self, _mode: str) -> io.BufferedReader:
        """As a socket's, for `HTTPResponse`."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        if self.pace is None:
            return self._sock.recv_into(buffer)
        began = self.pace.now()
        got = self._sock.recv_into(buffer)
        self.pace.add(got, since=began)
        return got


class _Connection:
    """A connection to a server, made with the first request."""

    def __init__(self, address: str, *, limits: Limits, tls: ssl.SSLContext | None) -> None:
        self._address = address
        self._limits = limits
        self._tls = tls
        self._sock: socket.socket | None = None

    def ask(self, request: Request, user_agent: str) -> Answer:
        """The beginning of the server's answer.

        Raises:
            HTTPException, OSError: There is none, or no plain one.
        """
        head, data = _head_of(request, user_agent), request.data or b""
        sock = self._sock = self._sock or self._connected()
        sock.settimeout(self._limits.connect_timeout_s)
        if len(data) <= _MOST_JOINED_BYTES:
            sock.sendall(head + data)
        else:
            sock.sendall(head)
            sock.sendall(data)
        sock.settimeout(self._limits.read_timeout_s)
        answer = Answer(sock, method=request.method)
        answer.begin()
        return answer

    def _connected(self) -> socket.socket:
        parts = urllib.parse.urlsplit(f"//{self._address}")
        port = parts.port or (HTTP_PORT if self._tls is None else HTTPS_PORT)
        host = parts.hostname or ""
        sock = socket.create_connection((host, port), timeout=self._limits.connect_timeout_s)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock if self._tls is None else self._tls.wrap_socket(sock, server_hostname=host)
        except BaseException:
            sock.close()
            raise

    def is_open(self) -> bool:
        """Whether the server has kept it open; one that sends unasked is of no use either."""
        if self._sock is None:
            return False
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """End it."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()


def _head_of(request: Request, user_agent: str) -> bytes:
    headers = {
        "Host": request.host,
        "Accept-Encoding": "identity",
        "User-Agent": user_agent,
        **request.headers,
    }
    if request.data is not None:
        headers["Content-Length"] = str(len(request.data))
    lines = [f"{request.method} {request.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any("\n" in line or "\r" in line for line in lines):
        raise ValueError("a header has more than one line")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
