"""Errors as RFC 9457 problem documents: status, code and remedy follow from the error's class."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fornada.errors import DuplicateIdError, FornadaError
from fornada.logs import get_logger
from gateway.http.direct_paths import Answer
from gateway.http.operations import Operations
from gateway.http.wrong_fields import Fields

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
#: A full queue, an overloaded store and a late worker are worth another try after this time.
_RETRY_AFTER_S = 1
TRY_AGAIN = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
#: More wrong fields are counted and not listed.
_MOST_LISTED = 20
#: The first of them are in the detail too.
_MOST_NAMED = 3


class WrongField(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(description="The field, `body.input.uri`, or the item.")
    message: str


class Problem(BaseModel):
    """RFC 9457: why a request failed."""

    type: str = "about:blank"
    title: str = Field(description="What the status means.")
    status: int
    code: str = Field(description="The class of the error, as the Python client names it.")
    detail: str = Field(description="The fact, with its values, then the remedy.")
    instance: str = Field(description="The request's id, which is in the gateway's log.")
    errors: list[WrongField] = Field(default_factory=list)


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document; a traceback never leaves."""
    app.add_exception_handler(FornadaError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_request)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(ClientDisconnect, of_gone)
    app.add_exception_handler(Exception, _of_any)


def problem_response(
    request: Request,
    *,
    status: int,
    code: str,
    detail: str,
    errors: Sequence[WrongField] = (),
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """A problem document as the answer to `request`."""
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        instance=getattr(request.state, "request_id", ""),
        errors=list(errors),
    )
    return JSONResponse(
        problem.model_dump(), status_code=status, media_type=MEDIA_TYPE, headers=headers
    )


def with_problems(answer: Answer) -> Answer:
    """`answer`, with our errors as problem documents; for what no handler of `app` sees."""

    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except FornadaError as exc:
            return await _of_ours(request, exc)

    return answered


async def _of_ours(request: Request, exc: Exception) -> JSONResponse:
    if not isinstance(exc, FornadaError):
        raise exc
    if exc.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request failed", code=type(exc).__name__, error=str(exc))
    headers = {"Retry-After": str(_RETRY_AFTER_S)} if exc.http_status in TRY_AGAIN else {}
    if exc.http_status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return problem_response(
        request,
        status=exc.http_status,
        code=type(exc).__name__,
        detail=exc.public_text,
        errors=_wrong_items(exc),
        headers=headers,
    )


def _wrong_items(exc: FornadaError) -> list[WrongField]:
    if not isinstance(exc, DuplicateIdError):
        return []
    first, second = exc.items
    message = f"has the same id as item {first}"
    return [WrongField(where=f"body.input.items.{second}", message=message)]


async def _of_request(request: Request, exc: Exception) -> JSONResponse:
    if not isinstance(exc, RequestValidationError):
        raise exc
    found = wrong_fields(request, exc)
    errors = [WrongField(where=where, message=message) for where, message in found.items()]
    named = [f"{error.where}: {error.message}" for error in errors[:_MOST_NAMED]]
    if len(errors) > _MOST_NAMED:
        named.append(f"and {len(errors) - _MOST_NAMED} more")
    return problem_response(
        request,
        status=HTTPStatus.UNPROCESSABLE_ENTITY,
        code="RequestError",
        detail="; ".join(named),
        errors=errors[:_MOST_LISTED],
    )


def wrong_fields(request: Request, exc: RequestValidationError) -> dict[str, str]:
    """Field, such as `body.input.uri`, -> what is wrong with it."""
    operations: Operations = request.app.state.operations
    operation = operations.find(request.method, request.url.path)
    found: dict[str, str] = {}
    for part in dict.fromkeys(str(error["loc"][0]) for error in exc.errors()):
        schema: Mapping[str, Any] = {}
        if operation is not None and part == "query":
            schema = {"properties": operation.queries}
        elif operation is not None and part == "body":
            schema = operation.body(request.headers.get("Content-Type", ""))
        errors = [
            {**error, "loc": error["loc"][1:]} for error in exc.errors() if error["loc"][0] == part
        ]
        wrong = Fields(schema, document=operations.document).wrong(errors)
        found |= {f"{part}.{name}" if name else part: why for name, why in wrong.items()}
    return found


async def _of_http(request: Request, exc: Exception) -> JSONResponse:
    if not isinstance(exc, HTTPException):
        raise exc
    return problem_response(
        request,
        status=exc.status_code,
        code=HTTPStatus(exc.status_code).phrase.replace(" ", ""),
        detail=f"{exc.detail}: {request.method} {request.url.path}; see /docs",
        headers=dict(exc.headers or {}),
    )


async def of_gone(request: Request, exc: Exception) -> Response:  # noqa: ARG001 - as Starlette
    """The answer to a client that is gone, which nobody reads, and which is no error of ours."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def _of_any(request: Request, exc: Exception) -> JSONResponse:
    log.error("request failed", code=type(exc).__name__, exc_info=exc)
    return problem_response(
        request,
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
        code="InternalError",
        detail="the gateway failed; its log says why, under the request's id",
    )
