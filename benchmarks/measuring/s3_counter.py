"""A proxy in front of the S3 server that counts requests; never part of a timing."""

import http.client
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
_KINDS = {
    r"/jobs/[^/]+/(input|data|outcome)/": r"\1",
    r"/jobs/[^/]+/(\w+)\.json": r"\1.json",
    r"[?&]list-type=": "list",
    r"/models/": "model",
}


class _Server(ThreadingHTTPServer):
    # As many connect at once; beyond the queue, each waits a second for its next try.
    request_queue_size = 128


class S3Counter:
    """Forwards from a free port on loopback to `upstream`, a URL; a context manager."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        #: Requests that the server served, by method and kind of object: `GET input`. Of puts that
        #: make the same new folder at the same time, rclone answers 500 to about one in 200.
        self.counts: Counter[str] = Counter()
        #: Bytes of objects that it sent, by bucket.
        self.sent_bytes: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The URL that it listens on."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def count(self, method: str, path: str, sent_bytes: int) -> None:
        """Count a request, and what it was answered with."""
        kind = kind_of(path)
        with self._lock:
            self.counts[f"{method} {kind}"] += 1
            if method == "GET" and kind != "list":
                self.sent_bytes[path.split("/")[1]] += sent_bytes

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        counter = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                # The host header stays as it is, so that signatures hold.
                server = http.client.HTTPConnection(counter.upstream, timeout=60)
                server.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in self.headers.items():
                    server.putheader(name, value)
                server.endheaders(body or None)
                answer = server.getresponse()
                data = b"" if self.command == "HEAD" else answer.read()
                if answer.status < http.HTTPStatus.INTERNAL_SERVER_ERROR:
                    counter.count(self.command, self.path, len(data))
                self._answer(answer, data)
                server.close()

            do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = _forward  # noqa: N815 - http.server's names

            def _answer(self, answer: http.client.HTTPResponse, data: bytes) -> None:
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP_BY_HOP:
                        self.send_header(name, value)
                if answer.status != http.HTTPStatus.NO_CONTENT:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_args: Any) -> None:
                """Stay silent."""

        return Handler


def kind_of(path: str) -> str:
    """The kind of object that a request is about: `input`, `outcome`, `list`, `final.json`."""
    for pattern, kind in _KINDS.items():
        found = re.search(pattern, path)
        if found:
            return found.expand(kind)
    return "other"
