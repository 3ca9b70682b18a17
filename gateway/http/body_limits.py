"""How large the body of a request may be, and of which media type, by what it asks for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fornada.errors import FornadaError
from gateway.http.problems import problem_response

JSON = "application/json"
FORM = "multipart/form-data"


class TooLargeError(FornadaError, fault="caller", http_status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
    """A request's body is too large."""


class MediaTypeError(FornadaError, fault="caller", http_status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE):
    """A request's body is of a media type that the endpoint does not take."""


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """What a kind of request may carry."""

    method: str
    #: Of the whole path.
    path: re.Pattern[str]
    #: `None` for any that the endpoint itself looks at.
    media_type: str | None
    most_bytes: int


def media_type_of(headers: Headers) -> str:
    """The media type of the body, without its parameters."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


class BodyLimits:
    """ASGI middleware: refuses bodies that are larger than their endpoint takes, or of other kinds.

    Args:
        app: What it guards.
        limits: By method, path and media type; the first that fits counts.
        most_bytes: Of all others, which are JSON.
    """

    def __init__(self, app: ASGIApp, *, limits: Sequence[BodyLimit], most_bytes: int) -> None:
        self._app = app
        self._limits = limits
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _LimitedBody(receive, self._limit(scope), Headers(scope=scope))
        has_begun = False

        async def send_unless_refused(message: Message) -> None:
            nonlocal has_begun
            # What the endpoint makes of the error is not what is wrong.
            if body.refusal is None or has_begun:
                has_begun = True
                await send(message)

        try:
            await self._app(scope, body.receive, send_unless_refused)
        except (TooLargeError, MediaTypeError):
            if has_begun:
                raise
        if body.refusal is not None and not has_begun:
            answer = problem_response(
                Request(scope),
                status=body.refusal.http_status,
                code=type(body.refusal).__name__,
                detail=str(body.refusal),
                headers={"Connection": "close"},
            )
            await answer(scope, receive, send)

    def _limit(self, scope: Scope) -> "_Taken":
        fits = [
            limit
            for limit in self._limits
            if limit.method == scope["method"] and limit.path.fullmatch(scope["path"])
        ]
        return _Taken({one.media_type: one.most_bytes for one in fits} or {JSON: self._most_bytes})


@dataclass(frozen=True, slots=True)
class _Taken:
    """What an endpoint takes: media type, or `None` for any -> most bytes."""

    most_bytes: Mapping[str | None, int]

    def limit(self, media_type: str) -> int | None:
        """How large a body may be; `None` if it may be none of this kind."""
        return self.most_bytes.get(media_type, self.most_bytes.get(None))

    @property
    def in_words(self) -> str:
        """The media types."""
        return " or ".join(filter(None, self.most_bytes))


class _LimitedBody:
    """A request's body, as far as its endpoint takes it."""

    def __init__(self, receive: Receive, taken: _Taken, headers: Headers) -> None:
        self._receive = receive
        self._taken = taken
        self._kind = media_type_of(headers)
        self._encoding = headers.get("Content-Encoding", "").strip().lower()
        self._received_bytes = 0
        declared = headers.get("Content-Length", "")
        self._declared_bytes = int(declared) if declared.isdecimal() else 0
        self.refusal: TooLargeError | MediaTypeError | None = None

    async def receive(self) -> Message:
        """The next of it.

        Raises:
            TooLargeError: It is larger than the endpoint takes.
            MediaTypeError: The endpoint does not take its media type.
        """
        message = await self._receive()
        if not message.get("body"):
            return message
        self._received_bytes += len(message["body"])
        most_bytes = self._taken.limit(self._kind)
        if self._encoding not in {"", "identity"}:
            self.refusal = MediaTypeError("the body is compressed; send it as it is")
        elif most_bytes is None:
            self.refusal = MediaTypeError(
                f"the body is {self._kind or 'of no media type'}; send Content-Type: "
                f"{self._taken.in_words}"
            )
        elif max(self._received_bytes, self._declared_bytes) > most_bytes:
            self.refusal = TooLargeError(
                f"the body has over {most_bytes} bytes; send less, or put items into the store, "
                "with POST /v1/uploads"
            )
        if self.refusal is not None:
            raise self.refusal
        return message
