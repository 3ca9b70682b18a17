"""`/docs`: the API as a page."""

import contextlib
from collections.abc import Callable
from functools import cached_property
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from gateway.auth.callers import TheDeployment
from gateway.console.api_page.description import ApiDescription
from gateway.console.pages import pages_of
from gateway.console.viewers import LoginNeededError, viewer_of

router = APIRouter()


class DescribedApi:
    """The API that a page describes.

    Args:
        openapi: Its OpenAPI description, once all its endpoints are known.
    """

    def __init__(self, openapi: Callable[[], dict[str, Any]]) -> None:
        self._openapi = openapi

    @cached_property
    def description(self) -> ApiDescription:
        """All that the page shows."""
        return ApiDescription.of(self._openapi())


@router.get("/docs")
def docs(request: Request, deployment: TheDeployment) -> HTMLResponse:
    """The API, for whoever reaches the gateway: it is the same everywhere, and no secret."""
    # Whoever has logged in sees the navigation too.
    with contextlib.suppress(LoginNeededError):
        viewer_of(request, deployment)
    api: DescribedApi = request.app.state.api
    return pages_of(request).render(
        request, "api", api=api.description, address=str(request.base_url).rstrip("/")
    )
