"""The gateway's application: its endpoints, and what every request passes."""

from fastapi import FastAPI

from fornada import __version__
from gateway.api import jobs, models, system
from gateway.console.app import create_console
from gateway.deployment import Deployment
from gateway.http.problems import add_problem_handlers
from gateway.http.request_ids import RequestIds

_DESCRIPTION = """\
Batch inference for Keras models: submit items as a job, follow it, read results; or predict a few \
items at once. Errors are RFC 9457 problem documents.
"""


def create_app(deployment: Deployment) -> FastAPI:
    """The application in front of `deployment`; contacts nothing yet."""
    app = FastAPI(title="Fornada", version=__version__, description=_DESCRIPTION)
    app.state.deployment = deployment
    add_problem_handlers(app)
    app.add_middleware(RequestIds)
    for router in (jobs.router, models.router, system.router):
        app.include_router(router)
    # Last: it takes what is left.
    app.mount("/", create_console(deployment))
    return app
