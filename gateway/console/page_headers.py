"""What every answer of the console says to browsers, and how large a form may be."""

from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Nothing is loaded from elsewhere; no script and no style stands in a page.
#: Pictures of what was just tried are `data:`, since nothing is kept.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: forms would then have the origin `null`.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
#: Of a form; of one with files.
MAX_FORM_BYTES, MAX_UPLOAD_BYTES = 64 * 1024, 16 * 1024 * 1024
UPLOAD_PATH = "/try"


class PageHeaders:
    """ASGI middleware: sets headers that an answer has not set itself, refuses large forms."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = _refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)


def _refusal(scope: Scope) -> PlainTextResponse | None:
    if scope["method"] != "POST":
        return None
    most = MAX_UPLOAD_BYTES if scope["path"] == UPLOAD_PATH else MAX_FORM_BYTES
    length = Headers(scope=scope).get("content-length", "")
    if not length.isdecimal():
        return PlainTextResponse("a form has a length", HTTPStatus.LENGTH_REQUIRED)
    if int(length) > most:
        return PlainTextResponse(
            f"the form has {length} bytes, and may have {most}", HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        )
    return None
