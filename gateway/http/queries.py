"""Query parameters that an operation does not have are refused, not ignored."""

from collections.abc import Callable
from http import HTTPStatus

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.http.operations import Operations
from gateway.http.problems import WrongField, problem_response
from gateway.http.wrong_fields import unknown

#: Answers a request that has them: `(request, name of one, what is wrong with it)`.
Refuse = Callable[[Request, str, str], Response]


class KnownQueries:
    """ASGI middleware: refuses requests of the API with query parameters that it does not have.

    Args:
        app: The application.
        operations: What each request may have.
        others: Beginning of a path -> how its requests are refused, if not with a problem document.
    """

    def __init__(self, app: ASGIApp, *, operations: Operations, others: dict[str, Refuse]) -> None:
        self._app = app
        self._operations = operations
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] == "http" and scope["query_string"]:
            answer = self._refusal(scope)
            if answer is not None:
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        operation = self._operations.find(scope["method"], scope["path"])
        if operation is None:
            return None
        known = list(operation.queries)
        for name in QueryParams(scope["query_string"]):
            if name not in known:
                message = f"{operation.name} has {unknown(name, known, what='query parameter')}"
                path = scope["path"]
                refuse = next((r for p, r in self._others.items() if path.startswith(p)), _refuse)
                return refuse(Request(scope), name[:100], message)
        return None


def _refuse(request: Request, name: str, message: str) -> Response:
    return problem_response(
        request,
        status=HTTPStatus.UNPROCESSABLE_ENTITY,
        code="RequestError",
        detail=f"query.{name}: {message}",
        errors=[WrongField(where=f"query.{name}", message=message)],
    )
