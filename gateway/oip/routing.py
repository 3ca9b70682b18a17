"""Answers whose errors have the protocol's own shape."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from fornada.errors import FornadaError
from fornada.logs import get_logger
from gateway.http.direct_paths import Answer
from gateway.http.problems import TRY_AGAIN
from gateway.oip.documents import ErrorDocument

log = get_logger(__name__)


class OipRoute(APIRoute):
    """A route that answers every error with `{"error": …}`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of requests."""
        return with_errors(super().get_route_handler())


def with_errors(answer: Answer) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """`answer`, with every error as the protocol has it."""

    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except FornadaError as exc:
            return _of_ours(exc)
        except RequestValidationError as exc:
            first = exc.errors()[0]
            where = ".".join(map(str, first["loc"]))
            return _error(HTTPStatus.BAD_REQUEST, f"{where}: {first['msg']}")
        except HTTPException as exc:
            return _error(exc.status_code, str(exc.detail))
        except (ClientDisconnect, MemoryError):
            raise
        except Exception:
            log.exception("request failed")
            return _error(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                "the gateway failed; its log says why, under the request's id",
            )

    return answered


def as_error(_: Request, status: HTTPStatus, text: str) -> Response:
    """A refusal as the protocol has it."""
    return _error(status, text)


def unknown_query(_: Request, name: str, message: str) -> Response:
    """The answer to a request with a query parameter that there is not."""
    return _error(HTTPStatus.BAD_REQUEST, f"query.{name}: {message}")


def _of_ours(exc: FornadaError) -> Response:
    if exc.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request failed", code=type(exc).__name__, error=str(exc))
    return _error(exc.http_status, exc.public_text)


def _error(status: int, text: str) -> Response:
    headers = {}
    if status in TRY_AGAIN:
        headers["Retry-After"] = "1"
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(ErrorDocument(error=text).model_dump(), status, headers)
