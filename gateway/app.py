"""The gateway's application: its endpoints, and what every request passes."""

from fastapi import FastAPI

from fornada import __version__
from gateway.api import job_upkeep, jobs, models, predict, system
from gateway.deployment import Deployment
from gateway.http.direct_paths import DirectPaths
from gateway.http.origins import Origins
from gateway.http.patience import Patience
from gateway.http.problems import add_problem_handlers
from gateway.http.request_ids import RequestIds
from gateway.oip import routes as oip

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
    add_problem_handlers(app)
    # The last one added is the first to see a request.
    app.add_middleware(DirectPaths, paths=[predict.DIRECT, oip.DIRECT])
    app.add_middleware(Origins, hosts=deployment.hosts)
    app.add_middleware(Patience, idle_s=_IDLE_S, least_bytes_per_s=_LEAST_BYTES_PER_S)
    app.add_middleware(RequestIds)
    for part in (jobs, job_upkeep, models, predict, system, oip):
        app.include_router(part.router)
    return app
