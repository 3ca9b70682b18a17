"""Errors as pages: what happened, and what to do."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fornada.errors import FornadaError
from fornada.logs import get_logger
from gateway.console.pages import pages_of
from gateway.console.viewers import LoginNeededError
from gateway.http.problems import of_gone

log = get_logger(__name__)

_TITLES = {
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.FORBIDDEN: "Not allowed",
    HTTPStatus.METHOD_NOT_ALLOWED: "Not possible here",
    HTTPStatus.SERVICE_UNAVAILABLE: "Unavailable for now",
}


def add_error_pages(app: FastAPI) -> None:
    """Answer every error of `app` with a page; a traceback never leaves."""
    app.add_exception_handler(LoginNeededError, _login)
    app.add_exception_handler(FornadaError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_request)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(ClientDisconnect, of_gone)
    app.add_exception_handler(Exception, _of_any)


async def _login(_: Request, exc: Exception) -> Response:
    if not isinstance(exc, LoginNeededError):
        raise exc
    return RedirectResponse(exc.login_path, HTTPStatus.SEE_OTHER)


async def _of_ours(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, FornadaError):
        raise exc
    if exc.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("page failed", code=type(exc).__name__, error=str(exc))
    return _page(request, exc.http_status, exc.public_text)


async def _of_request(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, RequestValidationError):
        raise exc
    first = exc.errors()[0]
    # Forms and addresses are flat; what follows are types that were tried.
    where = str(first["loc"][1]) if len(first["loc"]) > 1 else "the request"
    tried = [wrong["msg"] for wrong in exc.errors() if wrong["loc"][:2] == first["loc"][:2]]
    detail = f"{where}: {', or '.join(dict.fromkeys(tried))}"
    return _page(request, HTTPStatus.UNPROCESSABLE_ENTITY, detail)


async def _of_http(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, HTTPException):
        raise exc
    path = request.url.path
    what = f"There is no page {path}." if exc.status_code == HTTPStatus.NOT_FOUND else exc.detail
    return _page(request, exc.status_code, what)


async def _of_any(request: Request, exc: Exception) -> Response:
    log.error("page failed", code=type(exc).__name__, exc_info=exc)
    why = "The gateway failed; its log says why, under the request's id."
    return _page(request, HTTPStatus.INTERNAL_SERVER_ERROR, why)


def _page(request: Request, status: int, detail: str) -> Response:
    return pages_of(request).render(
        request,
        "error",
        http_status=status,
        code=status,
        heading=_TITLES.get(HTTPStatus(status), HTTPStatus(status).phrase),
        detail=detail,
        request_id=getattr(request.state, "request_id", ""),
    )
