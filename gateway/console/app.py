"""The console's application, which the gateway mounts beside its API."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from gateway.console import login, workers
from gateway.console.api_page import page as api_page
from gateway.console.api_page.page import DescribedApi
from gateway.console.error_pages import add_error_pages
from gateway.console.items.cards import Cards
from gateway.console.items.survey import Surveys
from gateway.console.job_access import JobAccess
from gateway.console.job_pages import changes, drift, items, job, listing, shards
from gateway.console.job_pages.training_shares import TrainingShares
from gateway.console.model_pages import changes as model_changes
from gateway.console.model_pages import reading as models
from gateway.console.page_headers import PageHeaders
from gateway.console.pages import Pages
from gateway.console.trying import page as trying
from gateway.console.trying.predicting import Trial
from gateway.deployment import Deployment

_PAGES = (
    login,
    listing,
    changes,
    drift,
    shards,
    items,
    job,
    model_changes,
    models,
    trying,
    workers,
    api_page,
)


class _Files(StaticFiles):
    """Files that browsers keep, and ask about each time."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file."""
        answer = await super().get_response(path, scope)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


def create_console(deployment: Deployment, *, openapi: Callable[[], dict[str, Any]]) -> FastAPI:
    """The console of `deployment`, which describes its API too; contacts nothing yet."""
    app = FastAPI(title="Fornada console", openapi_url=None)
    app.state.deployment = deployment
    app.state.pages = Pages()
    app.state.jobs = jobs = JobAccess(deployment=deployment)
    app.state.cards = cards = Cards(jobs=jobs)
    app.state.trial = Trial(client=deployment.client, pictures=cards.pictures)
    app.state.training_shares = TrainingShares(models=deployment.models)
    app.state.api = DescribedApi(openapi)
    app.state.surveys = Surveys(jobs=jobs.store)
    add_error_pages(app)
    app.add_middleware(PageHeaders)
    for page in _PAGES:
        app.include_router(page.router)
    app.mount("/static", _Files(directory=Path(__file__).parent / "static"))
    return app
