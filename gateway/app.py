"""The gateway's application: its endpoints, and what every request passes."""

from fastapi import FastAPI

from fornada import __version__
from gateway.api import events, job_upkeep, jobs, models, predict, results, shards, system
from gateway.console.app import create_console
from gateway.deployment import Deployment
from gateway.http.origins import Origins
from gateway.http.patience import Patience
from gateway.http.problems import add_problem_handlers
from gateway.http.request_ids import RequestIds
from gateway.live.jobs import LiveJobs

#: How long a client may send or read nothing, and how fast it has to send on average.
_IDLE_S = 30.0
_LEAST_BYTES_PER_S = 1024.0
_DESCRIPTION = """\
Batch inference for Keras models: submit items as a job, follow it, read results; or predict a few \
items at once. Errors are RFC 9457 problem documents.
"""


def create_app(deployment: Deployment) -> FastAPI:
    """The application in front of `deployment`; contacts nothing yet."""
    app = FastAPI(title="Fornada", version=__version__, description=_DESCRIPTION)
    app.state.deployment = deployment
    app.state.live = LiveJobs()
    add_problem_handlers(app)
    # The last one added is the first to see a request.
    app.add_middleware(Origins, hosts=deployment.hosts)
    app.add_middleware(Patience, idle_s=_IDLE_S, least_bytes_per_s=_LEAST_BYTES_PER_S)
    app.add_middleware(RequestIds)
    for router in (
        jobs.router,
        job_upkeep.router,
        results.router,
        shards.router,
        events.router,
        models.router,
        predict.router,
        system.router,
    ):
        app.include_router(router)
    # Last: it takes what is left.
    app.mount("/", create_console(deployment))
    return app
