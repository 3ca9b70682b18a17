"""The gateway's application: its endpoints, and what every request passes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Protocol

from fastapi import FastAPI

from fornada import __version__
from gateway.api import (
    events,
    job_upkeep,
    jobs,
    models,
    predict,
    results,
    shards,
    system,
    uploads,
    webhooks,
)
from gateway.api.limits import LIMITS, MOST_BYTES, MOST_FORMS, MOST_FORMS_OF_ONE
from gateway.api.submitting.form_submission import FormSlots
from gateway.api.submitting.job_request import JobOptions, JobRequest
from gateway.console.app import create_console
from gateway.deployment import Deployment
from gateway.http.body_limits import BodyLimits
from gateway.http.direct_paths import DirectPaths
from gateway.http.measured import Measured
from gateway.http.nowhere import Refuse, as_problem, nowhere
from gateway.http.operations import Operations
from gateway.http.origins import Origins
from gateway.http.patience import Patience
from gateway.http.problems import add_problem_handlers
from gateway.http.queries import KnownQueries
from gateway.http.request_ids import RequestIds
from gateway.http.schema import describe, operation_id
from gateway.live.jobs import LiveJobs
from gateway.oip import routes as oip
from gateway.oip.routing import as_error, unknown_query
from gateway.predicting.bodies import LargeBodies
from gateway.waited_for import WaitedFor

#: How long a client may send or read nothing, and how fast it has to send on average.
_IDLE_S = 30.0
_LEAST_BYTES_PER_S = 1024.0
_DESCRIPTION = """\
Batch inference for Keras models: submit items as a job, follow it, read results; or predict a few \
items at once. Errors are RFC 9457 problem documents.
"""

_PARTS = (
    jobs,
    job_upkeep,
    results,
    shards,
    events,
    webhooks,
    uploads,
    models,
    predict,
    system,
    oip,
)

#: Where there is no page of the console either -> how it is said.
_NOWHERE: Mapping[str, Refuse] = MappingProxyType(
    {
        "/v1/{path:path}": as_problem,
        "/v2/{path:path}": as_error,
        "/healthz": as_problem,
        "/readyz": as_problem,
    }
)
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class _Part(Protocol):
    """What runs in threads of its own."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


@asynccontextmanager
async def _background(app: FastAPI) -> AsyncIterator[None]:
    """Tell webhooks and keep jobs going while the app is served."""
    deployment: Deployment = app.state.deployment
    parts: list[_Part] = [deployment.webhooks.dispatcher]
    if deployment.reconcilers is not None:
        parts.append(deployment.reconcilers)
    for part in parts:
        part.start()
    try:
        yield
    finally:
        for part in parts:
            await asyncio.to_thread(part.stop)


def create_app(deployment: Deployment) -> FastAPI:
    """The application in front of `deployment`; contacts nothing yet."""
    app = FastAPI(
        title="Fornada",
        version=__version__,
        description=_DESCRIPTION,
        generate_unique_id_function=operation_id,
        lifespan=_background,
        # Its own spans of requests; no metrics, nor logs, which would hold what callers sent.
        telemetry={
            "tracing": deployment.settings.traces,
            "operation_spans": False,
            "metrics": False,
            "logs": False,
            "auto_configure": False,
        },
        docs_url=None,
        redoc_url=None,
    )
    app.state.deployment = deployment
    app.state.forms = FormSlots(most=MOST_FORMS, most_of_one=MOST_FORMS_OF_ONE)
    app.state.large_bodies = LargeBodies()
    app.state.live = LiveJobs()
    add_problem_handlers(app)
    describe(app, [JobRequest, JobOptions])
    # The last one added is the first to see a request.
    app.add_middleware(BodyLimits, limits=LIMITS, most_bytes=MOST_BYTES)
    # They limit their bodies themselves.
    app.add_middleware(DirectPaths, paths=[predict.DIRECT, oip.DIRECT])
    operations = app.state.operations = Operations(app.openapi)
    app.add_middleware(KnownQueries, operations=operations, others={"/v2": unknown_query})
    app.add_middleware(Origins, hosts=deployment.hosts)
    app.add_middleware(Patience, idle_s=_IDLE_S, least_bytes_per_s=_LEAST_BYTES_PER_S)
    app.add_middleware(RequestIds, traces=deployment.client.traces)
    app.add_middleware(WaitedFor)
    if deployment.metrics is not None:
        app.add_middleware(Measured, events=deployment.events)
    for part in _PARTS:
        app.include_router(part.router)
    for path, refuse in _NOWHERE.items():
        app.add_route(path, nowhere(refuse), methods=_METHODS, include_in_schema=False)
    # Last: it takes what is left.
    app.mount("/", create_console(deployment, openapi=app.openapi))
    return app
