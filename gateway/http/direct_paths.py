"""The paths of predictions, served without the router, which takes longer than they do."""

import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Answer = Callable[[Request], Awaitable[Response]]


class DirectPath(NamedTuple):
    """A path, and what answers a POST to it, errors too."""

    #: Its groups become the request's path parameters.
    pattern: re.Pattern[str]
    answer: Answer
    #: The same path as a route's template.
    path: str


class DirectPaths:
    """ASGI middleware: answers POSTs to some paths, and leaves the others to the application.

    FastAPI's routing, dependencies and exit stacks take longer than all else that a gateway does
    for a prediction. The application has routes for the same paths, which describe them.

    Args:
        app: The application.
        paths: The paths.
    """

    def __init__(self, app: ASGIApp, *, paths: Sequence[DirectPath]) -> None:
        self._app = app
        self._paths = tuple(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            for direct in self._paths:
                found = direct.pattern.fullmatch(scope["path"])
                if found is not None:
                    scope["path_params"] = found.groupdict()
                    # As FastAPI's router does.
                    scope["route"] = direct
                    # Nobody reads an answer to a client that is gone.
                    with contextlib.suppress(ClientDisconnect):
                        response = await direct.answer(Request(scope, receive, send))
                        await response(scope, receive, send)
                    return
        await self._app(scope, receive, send)
