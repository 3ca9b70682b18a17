"""Every answer is told to listeners, by the template of its route."""

import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fornada.events import Events
from fornada.events.serving import RequestAnswered

#: What no route is for: anyone may ask for any path.
OTHER = "other"
_STREAM = "text/event-stream"


class Measured:
    """ASGI middleware: tells `events` of each answer.

    Args:
        app: Answers.
        events: Hear of it.
    """

    def __init__(self, app: ASGIApp, *, events: Events) -> None:
        self._app = app
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.monotonic()
        status, is_stream = None, False

        async def noted(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                media_type = Headers(raw=message.get("headers", [])).get("Content-Type", "")
                is_stream = media_type.startswith(_STREAM)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            # None is answered to a client that is gone.
            if status is not None:
                took_s = time.monotonic() - began_s
                self._events.tell(
                    RequestAnswered(
                        route=_template(scope),
                        status=status,
                        duration_s=None if is_stream else took_s,
                    )
                )


def _template(scope: Scope) -> str:
    """The route's template; of a folder of files, the folder."""
    path: str = getattr(scope.get("route"), "path", "") or scope.get("root_path", "")
    return path or OTHER
