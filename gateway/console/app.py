"""The console's application, which the gateway mounts beside its API."""

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from gateway.console import login
from gateway.console.error_pages import add_error_pages
from gateway.console.job_access import JobAccess
from gateway.console.job_pages import listing
from gateway.console.page_headers import PageHeaders
from gateway.console.pages import Pages
from gateway.deployment import Deployment


class _Files(StaticFiles):
    """Files that browsers keep, and ask about each time."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file."""
        answer = await super().get_response(path, scope)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


def create_console(deployment: Deployment) -> FastAPI:
    """The console of `deployment`; contacts nothing yet."""
    app = FastAPI(title="Fornada console", openapi_url=None)
    app.state.deployment = deployment
    app.state.pages = Pages()
    app.state.jobs = JobAccess(deployment=deployment)
    add_error_pages(app)
    app.add_middleware(PageHeaders)
    for router in (login.router, listing.router):
        app.include_router(router)
    app.mount("/static", _Files(directory=Path(__file__).parent / "static"))
    return app
