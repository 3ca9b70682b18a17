"""A service that webhooks call."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Call(NamedTuple):
    """A call as it came."""

    at: float
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers calls with `statuses` in turn, then with 204; `None` never answers."""

    def __init__(self, port: int = 0) -> None:
        self.calls: list[Call] = []
        self.statuses: list[int | None] = []
        self._over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.calls.append(Call(time.time(), self.path, headers, body))
                status = receiver.statuses.pop(0) if receiver.statuses else 204
                if status is None:
                    receiver._over.wait(60)
                    return
                self.send_response(status)
                self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook?of=shop"

    @contextmanager
    def running(self) -> Iterator["Receiver"]:
        """Receive."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._server.shutdown()
            self._server.server_close()
