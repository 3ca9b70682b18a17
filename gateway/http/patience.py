"""How long a request may take to arrive, and its answer to be read."""

import asyncio
import contextlib
import time
from http import HTTPStatus

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fornada.errors import FornadaError
from fornada.logs import get_logger
from gateway.http.problems import problem_response

log = get_logger(__name__)


class SlowClientError(
    FornadaError, TimeoutError, fault="caller", http_status=HTTPStatus.REQUEST_TIMEOUT
):
    """A client sends or reads too slowly."""


class Patience:
    """ASGI middleware: ends requests whose clients keep them open without need.

    Args:
        app: What it guards.
        idle_s: How long a client may send or read nothing at all.
        least_bytes_per_s: What it has to send beyond that, on average.
    """

    def __init__(self, app: ASGIApp, *, idle_s: float, least_bytes_per_s: float) -> None:
        self._app = app
        self._idle_s = idle_s
        self._least_bytes_per_s = least_bytes_per_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, idle_s=self._idle_s, rate=self._least_bytes_per_s)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except (FornadaError, RuntimeError):
            # The second is what Starlette makes of ours in an answer that has begun.
            if exchange.flaw is None:
                raise
            if exchange.has_begun:
                # The answer is cut off: there is no other way to say that it is not whole.
                log.warning("answer cut off", path=scope["path"], error=str(exchange.flaw))
                return
            await _refuse(exchange.flaw, scope, receive, send)


async def _refuse(flaw: SlowClientError, scope: Scope, receive: Receive, send: Send) -> None:
    answer = problem_response(
        Request(scope),
        status=flaw.http_status,
        code=type(flaw).__name__,
        detail=str(flaw),
        headers={"Connection": "close"},
    )
    with contextlib.suppress(OSError):
        await answer(scope, receive, send)


class _Exchange:
    """One request and its answer, against the clock."""

    def __init__(self, receive: Receive, send: Send, *, idle_s: float, rate: float) -> None:
        self._receive = receive
        self._send = send
        self._idle_s = idle_s
        self._rate = rate
        #: For the client alone: what the gateway takes to go on is not the client's fault.
        self._waited_s = 0.0
        self._received_bytes = 0
        self._has_body = False
        self.has_begun = False
        #: Why it is ended.
        self.flaw: SlowClientError | None = None

    async def receive(self) -> Message:
        if self._has_body:
            # The client has sent all; what comes is that it is gone.
            return await self._receive()
        left_s = self._idle_s + self._received_bytes / self._rate - self._waited_s
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(min(self._idle_s, max(0.0, left_s))):
                message = await self._receive()
        except TimeoutError:
            self.flaw = SlowClientError(
                f"the request's body came too slowly, {self._received_bytes} bytes so far; send "
                f"it at {self._rate:g} bytes a second or more"
            )
            raise self.flaw from None
        self._waited_s += time.monotonic() - began_s
        self._received_bytes += len(message.get("body", b""))
        self._has_body = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        self.has_begun = True
        try:
            async with asyncio.timeout(self._idle_s):
                await self._send(message)
        except TimeoutError:
            self.flaw = SlowClientError(
                f"the answer was not read for {self._idle_s:g} s; read it faster, or ask for less"
            )
            raise self.flaw from None
