"""Requests for other hosts, and from the pages of other sites, are refused."""

from collections.abc import Sequence
from http import HTTPStatus

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.http.problems import problem_response

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
#: Whoever watches the process knows its address alone.
_OPEN_PATHS = frozenset({"/healthz", "/readyz"})
_HEADERS = frozenset({b"origin", b"sec-fetch-site"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Origins:
    """ASGI middleware: checks `Host` against rebinding, `Origin` against other sites' pages.

    Args:
        app: What it guards.
        hosts: Names by which the gateway is reached, without port.
    """

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] == "http" and scope["path"] not in _OPEN_PATHS:
            why = self._flaw(scope)
            if why is not None:
                status, detail = why
                refusal = problem_response(
                    Request(scope), status=status, code="OriginError", detail=detail
                )
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _flaw(self, scope: Scope) -> tuple[HTTPStatus, str] | None:
        # All at once: every request passes here.
        hosts: list[str] = []
        headers: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(value.decode("latin-1"))
            elif name in _HEADERS:
                headers.setdefault(name, value.decode("latin-1"))
        host = hosts[0] if len(hosts) == 1 else ""
        if _name_of(host) not in self._hosts:
            return HTTPStatus.MISDIRECTED_REQUEST, (
                f"this gateway does not serve host {host[:200]!r}; name it in FORNADA_GATEWAY_HOSTS"
            )
        origin = headers.get(b"origin")
        # A proxy that ends TLS in front of us changes the scheme, so hosts alone are compared.
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            return HTTPStatus.FORBIDDEN, (
                f"the page of {origin[:200]!r} may not call this gateway; call it from a server"
            )
        from_elsewhere = headers.get(b"sec-fetch-site") in {"cross-site", "same-site"}
        if from_elsewhere and scope["method"] not in _SAFE_METHODS:
            return HTTPStatus.FORBIDDEN, (
                "a page of another site may not call this gateway; call it from a server"
            )
        return None


def _name_of(host: str) -> str:
    """A `Host` without its port, in lower case."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()
