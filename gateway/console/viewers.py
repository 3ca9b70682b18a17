"""Who looks at a page, and whether a form is theirs."""

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Form, Request
from fastapi.responses import HTMLResponse

from gateway.auth.callers import TheDeployment
from gateway.auth.errors import ForbiddenError, UnauthenticatedError
from gateway.auth.principal import Principal
from gateway.auth.scopes import Scope
from gateway.auth.sessions import COOKIE
from gateway.console.pages import PART, pages_of


class LoginNeededError(UnauthenticatedError, fault="caller", http_status=401):
    """The page is for people who have logged in."""

    def __init__(self, message: str, *, next_path: str) -> None:
        super().__init__(message)
        #: Where to go on afterwards.
        self.login_path = f"/login?next={quote(next_path, safe='')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Viewer:
    """A person who has logged in."""

    principal: Principal
    #: Carried by each of their forms.
    form_token: str

    @property
    def owner(self) -> str:
        """Whose key they came with."""
        return self.principal.owner

    def may(self, scope: str) -> bool:
        """Whether their key has the scope."""
        return self.principal.may(Scope(scope))


def viewer_of(request: Request, deployment: TheDeployment) -> Viewer:
    """Who sends a request.

    Raises:
        LoginNeededError: They have not logged in, or their session is over, or their key revoked.
        StoreError: The store cannot be reached.
    """
    token = request.cookies.get(COOKIE, "")
    principal = deployment.sessions.principal_of(token)
    if principal is None:
        query = f"?{request.url.query}" if request.url.query else ""
        raise LoginNeededError(
            "you have not logged in, or the session is over; log in with an API key",
            next_path=request.url.path + query if request.method == "GET" else "/",
        )
    viewer = Viewer(principal=principal, form_token=deployment.sessions.form_token(token))
    request.state.viewer = viewer
    return viewer


TheViewer = Annotated[Viewer, Depends(viewer_of)]


class Visit:
    """A request of someone who has logged in."""

    def __init__(self, request: Request, viewer: TheViewer) -> None:
        self.request = request
        self.viewer = viewer

    @property
    def principal(self) -> Principal:
        """What they may do."""
        return self.viewer.principal

    @property
    def wants_part(self) -> bool:
        """Whether a page that is open already asks for a part of it."""
        return PART in self.request.query_params

    def render(self, template: str, *, http_status: int = 200, **values: Any) -> HTMLResponse:
        """As `Pages.render`."""
        return pages_of(self.request).render(
            self.request, template, http_status=http_status, **values
        )


TheVisit = Annotated[Visit, Depends(Visit)]


def check_form(
    request: Request,
    deployment: TheDeployment,
    viewer: TheViewer,
    form_token: Annotated[str, Form()] = "",
) -> None:
    """Check that a form came from a page of this session.

    Raises:
        ForbiddenError: It did not.
        RateExceededError: The viewer has made as many requests as they may.
    """
    deployment.identity.rates.check(viewer.principal)
    if not deployment.sessions.is_form_token(request.cookies.get(COOKIE, ""), form_token):
        raise ForbiddenError("the form is not of this session; load the page again and resend it")


FormChecked = Depends(check_form)
