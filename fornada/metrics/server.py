"""Serves metrics at a port of their own."""

import socket
import threading
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from fornada.errors import ConfigError
from fornada.logs import get_logger
from fornada.settings import Settings

log = get_logger(__name__)

#: How long a scraper may take to send its request or to read the answer.
_IDLE_S = 30


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each scraper in a thread of its own."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as socketserver
        """Say that a scraper went away, or sent nothing."""
        log.debug("scrape broken off")


class _Server6(_Server):
    """The same on IPv6."""

    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _IDLE_S

    def log_message(self, *_: object) -> None:
        """Nothing: scrapes come every few seconds."""


class MetricsServer:
    """Serves the metrics of a registry at FORNADA_METRICS_PORT, to whoever reaches it."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        """Serve from now on.

        Raises:
            ConfigError: The port is taken, or the host is none of this machine's.
        """
        host, port = settings.metrics_host, settings.metrics_port or 0
        is_6 = ":" in host
        try:
            self._server = make_server(
                host, port, make_wsgi_app(registry), _Server6 if is_6 else _Server, _Handler
            )
        except (OSError, UnicodeError) as exc:
            why = (isinstance(exc, OSError) and exc.strerror) or "it is no name of a host"
            raise ConfigError(
                f"FORNADA_METRICS_PORT={port} on {host} cannot be listened on ({why}); "
                "name another port, or an address of this machine in FORNADA_METRICS_HOST"
            ) from exc
        shown = f"[{host}]" if is_6 else host
        self.url = f"http://{shown}:{self._server.server_port}/metrics"
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()
        log.info("metrics served", url=self.url)

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
