"""A small HTTP proxy in front of an S3 server that breaks requests as tests ask."""

import contextlib
import http.client
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

_PIECES_PER_S = 20
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(kw_only=True, eq=False)
class Rule:
    """What happens to the next `times` requests that match."""

    method: str = ""
    #: A pattern to search for in path and query.
    key: str = ""
    times: int | None = None
    #: Whether each path is hit only once.
    once: bool = False
    #: Paths that were hit, in order.
    hit: list[str] = field(default_factory=list, init=False)

    @property
    def count(self) -> int:
        """How many requests it has hit."""
        return len(self.hit)

    def fits(self, method: str, path: str) -> bool:
        """Whether it hits this request."""
        return (
            self.times != self.count
            and self.method in {"", method}
            and re.search(self.key, path) is not None
            and not (self.once and path in self.hit)
        )


@dataclass(kw_only=True, eq=False)
class Refuse(Rule):
    """Answers with an error; the server never sees the request."""

    status: int = 503
    code: str = "SlowDown"


@dataclass(kw_only=True, eq=False)
class BreakOff(Rule):
    """Ends the answer after some bytes of its body: closed as if complete, or reset."""

    after_bytes: int = 0
    reset: bool = False


@dataclass(kw_only=True, eq=False)
class Stall(Rule):
    """Stalls the answer after some bytes of its body, and keeps the connection open."""

    after_bytes: int = 0


@dataclass(kw_only=True, eq=False)
class Trickle(Rule):
    """Limits the throughput of the answer's body, or of the request's."""

    bytes_per_s: float = 1000.0
    request: bool = False


@dataclass(kw_only=True, eq=False)
class NoAnswer(Rule):
    """Takes the request and never answers, as on a half-open connection."""


@dataclass(kw_only=True, eq=False)
class LoseAnswer(Rule):
    """Passes the request on, and loses the answer."""


@dataclass(kw_only=True, eq=False)
class Corrupt(Rule):
    """Flips a bit in the body of the answer."""

    at: int = 0


@dataclass(kw_only=True, eq=False)
class DropHeader(Rule):
    """Removes a header of the request."""

    header: str = "If-None-Match"


_RuleT = TypeVar("_RuleT", bound=Rule)


class S3Proxy:
    """Listens on an ephemeral loopback port and forwards to the URL `upstream`.

    Hosts and headers pass unchanged, so that signatures hold. Of several rules that match a
    request, the last one added applies.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        #: Called with path and body of each put that the server has taken.
        self.on_put: Callable[[str, bytes], object] = lambda _path, _body: None
        #: Errors of the proxy itself.
        self.errors: list[str] = []
        self.closing = threading.Event()
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, name="s3-proxy")

    @property
    def url(self) -> str:
        """Its own URL."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def add(self, rule: _RuleT) -> _RuleT:
        """Apply the rule from now on."""
        with self._lock:
            self._rules.append(rule)
        return rule

    def heal(self) -> None:
        """Forward everything from now on; held connections stay held."""
        with self._lock:
            self._rules.clear()

    def remove(self, rule: Rule) -> None:
        """Stop applying the rule."""
        with self._lock:
            self._rules.remove(rule)

    def take(self, method: str, path: str) -> Rule | None:
        """The rule for this request, which counts it."""
        with self._lock:
            for rule in reversed(self._rules):
                if rule.fits(method, path):
                    rule.hit.append(path)
                    return rule
        return None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.end_connections()
        # Joins the threads of all connections.
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    # 32 writers connect at once; beyond the queue, each waits a second for its next try.
    request_queue_size = 128

    def __init__(self, proxy: S3Proxy) -> None:
        self.proxy = proxy
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_bind(self) -> None:
        # Small, so that a slow line blocks the sender soon.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        super().server_bind()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        threading.current_thread().name = "s3-proxy-connection"
        super().process_request_thread(request, client_address)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._connections_lock:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        # No shutdown, unlike the original, which would close a connection before its reset.
        with self._connections_lock:
            self._connections.discard(request)
        request.close()

    def end_connections(self) -> None:
        with self._connections_lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        # Clients that give up close the connection during the answer.
        if not isinstance(error, ConnectionError):
            self.proxy.errors.append(repr(error))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: the second would wait 40 ms for an answer to the first.
    disable_nagle_algorithm = True
    server: _Server

    def _handle(self) -> None:
        proxy = self.server.proxy
        rule = proxy.take(self.command, self.path)
        body = self._read_request(rule)
        if isinstance(rule, Refuse):
            error = f"<Error><Code>{rule.code}</Code><Message>by the proxy</Message></Error>"
            self._answer(rule.status, [("Content-Type", "application/xml")], error.encode())
        elif isinstance(rule, NoAnswer):
            proxy.closing.wait()
            self.close_connection = True
        else:
            dropped = rule.header.lower() if isinstance(rule, DropHeader) else ""
            answer = self._forward(body, dropped=dropped)
            if self.command == "PUT" and answer[0] == http.HTTPStatus.OK:
                proxy.on_put(self.path, body)
            self._answer(*answer, rule=rule)

    do_DELETE = do_GET = do_PUT = _handle  # noqa: N815 - http.server's names

    def log_message(self, *args: Any) -> None:
        pass

    def _read_request(self, rule: Rule | None) -> bytes:
        missing = int(self.headers.get("Content-Length", 0))
        if not (isinstance(rule, Trickle) and rule.request):
            return self.rfile.read(missing)
        pieces = []
        while missing and not self.server.proxy.closing.wait(1 / _PIECES_PER_S):
            pieces.append(self.rfile.read(min(missing, _piece_bytes(rule))))
            missing -= len(pieces[-1])
            if not pieces[-1]:
                break
        if missing:
            raise ConnectionAbortedError
        return b"".join(pieces)

    def _forward(self, body: bytes, *, dropped: str) -> tuple[int, list[tuple[str, str]], bytes]:
        server = http.client.HTTPConnection(self.server.proxy.upstream, timeout=60)
        try:
            server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != dropped:
                    server.putheader(name, value)
            server.endheaders(body or None)
            answer = server.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            server.close()

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
        *,
        rule: Rule | None = None,
    ) -> None:
        if isinstance(rule, LoseAnswer):
            self.close_connection = True
            return
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        if status != http.HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._send_body(body, rule)

    def _send_body(self, body: bytes, rule: Rule | None) -> None:
        if isinstance(rule, Corrupt) and body:
            at = min(rule.at, len(body) - 1)
            body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        if isinstance(rule, Trickle) and not rule.request:
            step = _piece_bytes(rule)
            for start in range(0, len(body), step):
                if self.server.proxy.closing.wait(1 / _PIECES_PER_S):
                    break
                self.wfile.write(body[start : start + step])
        elif isinstance(rule, (BreakOff, Stall)):
            # Never the whole body, however short.
            self.wfile.write(body[: min(rule.after_bytes, max(len(body) - 1, 0))])
            self.close_connection = True
            if isinstance(rule, Stall):
                self.server.proxy.closing.wait()
            elif rule.reset:
                # Closing sends RST and drops what was not sent.
                self.connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        else:
            self.wfile.write(body)


def _piece_bytes(rule: Trickle) -> int:
    return max(1, round(rule.bytes_per_s / _PIECES_PER_S))
