"""Every request has an id, which is in its answer and in the log lines that it causes."""

import re
import secrets

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fornada.logs import bound
from fornada.tracing.interface import NO_TRACES, Traces

HEADER = "X-Request-Id"
_NAME = HEADER.lower().encode()
# What a caller gives ends up in the log.
_GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIds:
    """ASGI middleware: takes the caller's `X-Request-Id` or makes one, and answers with it.

    Args:
        app: What serves the request.
        traces: Where the request's span is.
    """

    def __init__(self, app: ASGIApp, *, traces: Traces = NO_TRACES) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _GIVEN.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (_NAME, request_id.encode())]
            await send(message)

        trace_id = self._traces.trace_id()
        ids = {"request_id": request_id} | ({"trace_id": trace_id} if trace_id else {})
        with bound(**ids):
            await self._app(scope, receive, send_with_id)
