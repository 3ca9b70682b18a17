"""Log in with an API key, and log out."""

import secrets
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from gateway.auth.callers import TheDeployment
from gateway.auth.errors import ForbiddenError, UnauthenticatedError
from gateway.auth.sessions import COOKIE, SESSION_S, Sessions
from gateway.console.pages import pages_of
from gateway.console.viewers import FormChecked

router = APIRouter()

#: Ties the login form to this browser, so that another site cannot log anyone in.
_LOGIN_COOKIE = "fornada_login"
_LOGIN_S = 3600


@router.get("/login")
def form(
    request: Request,
    deployment: TheDeployment,
    next: str = "/",  # noqa: A002 - its name in URLs
) -> HTMLResponse:
    """The form."""
    return _form(request, deployment.sessions, next)


@router.post("/login")
def login(
    request: Request,
    deployment: TheDeployment,
    api_key: Annotated[str, Form(max_length=200)] = "",
    form_token: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",  # noqa: A002 - its name in forms
) -> Response:
    """Begin a session.

    Raises:
        ForbiddenError: The form is not one of this browser.
    """
    sessions = deployment.sessions
    if not sessions.is_form_token(request.cookies.get(_LOGIN_COOKIE, ""), form_token):
        raise ForbiddenError("the form is too old, or not of this browser; load /login again")
    try:
        token = sessions.begin(api_key.strip())
    except UnauthenticatedError:
        wrong = "This key is unknown or revoked."
        return _form(request, sessions, next, wrong=wrong, status=HTTPStatus.UNAUTHORIZED)
    answer = RedirectResponse(_local(next), HTTPStatus.SEE_OTHER)
    _set_cookie(request, answer, COOKIE, token, age_s=SESSION_S)
    answer.delete_cookie(_LOGIN_COOKIE)
    return answer


@router.post("/logout", dependencies=[FormChecked])
def logout(request: Request, deployment: TheDeployment) -> RedirectResponse:
    """End the session."""
    deployment.sessions.end(request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE)
    return answer


def _form(
    request: Request, sessions: Sessions, next_path: str, *, wrong: str = "", status: int = 200
) -> HTMLResponse:
    browser = request.cookies.get(_LOGIN_COOKIE) or secrets.token_hex(16)
    answer = pages_of(request).render(
        request,
        "login",
        http_status=status,
        wrong=wrong,
        next_path=_local(next_path),
        form_token=sessions.form_token(browser),
    )
    _set_cookie(request, answer, _LOGIN_COOKIE, browser, age_s=_LOGIN_S)
    return answer


def _set_cookie(request: Request, answer: Response, name: str, value: str, *, age_s: int) -> None:
    answer.set_cookie(
        name,
        value,
        max_age=age_s,
        httponly=True,
        samesite="strict",
        secure=_is_https(request),
    )


def _is_https(request: Request) -> bool:
    # A proxy that ends TLS in front of us changes the scheme, and not what the browser says.
    origin = request.headers.get("Origin", "")
    return request.url.scheme == "https" or origin.startswith("https://")


def _local(path: str) -> str:
    """`path`, if it is one of this console's."""
    # Browsers read a backslash as a slash, and two slashes as a host.
    is_local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_local else "/"
