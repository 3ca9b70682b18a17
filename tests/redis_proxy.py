"""A proxy before a Redis server that speaks TLS, or loses a reply."""

import contextlib
import socket
import ssl
import threading
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"


class RedisProxy:
    """Passes every connection on to the server at `url`; a context manager.

    Args:
        url: The server's, on loopback, with a password and a database.
        tls: Speaks TLS to clients with this; plain TCP without it.
    """

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None) -> None:
        secret, _, where = url.removeprefix("redis://").partition("@")
        port, _, database = where.partition(":")[2].partition("/")
        self._server_port = int(port)
        self._tls = tls
        self._listener = socket.create_server((HOST, 0))
        self._open: list[socket.socket] = []
        self._loses: bytes | None = None
        self._refuses = False
        scheme, host = ("redis", HOST) if tls is None else ("rediss", "localhost")
        #: Of the server through this proxy.
        self.url = f"{scheme}://{secret}@{host}:{self._listener.getsockname()[1]}/{database}"
        #: Set once a reply was lost.
        self.lost = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each in (self._listener, *self._open):
            _close(each)

    def lose_reply_to(self, request: bytes) -> None:
        """Pass on the next request that holds these bytes, and cut the connection then."""
        self._loses = request

    def refuse(self) -> None:
        """Cut all connections, and refuse new ones."""
        self._refuses = True
        for each in self._open:
            _close(each)

    def accept(self) -> None:
        """Refuse no more."""
        self._refuses = False

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        if self._refuses:
            _close(accepted)
            return
        with contextlib.suppress(OSError):
            client = (
                accepted if self._tls is None else self._tls.wrap_socket(accepted, server_side=True)
            )
            server = socket.create_connection((HOST, self._server_port))
            self._open += [client, server]
            cut = threading.Event()
            threading.Thread(target=self._replies, args=(server, client, cut), daemon=True).start()
            while data := client.recv(65536):
                if self._loses is not None and self._loses in data:
                    self._loses = None
                    cut.set()
                server.sendall(data)
            _close(server)

    def _replies(self, server: socket.socket, client: socket.socket, cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if cut.is_set():
                    # The server has answered, so it has done what was asked.
                    self.lost.set()
                    break
                client.sendall(data)
        _close(client)


def _close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
