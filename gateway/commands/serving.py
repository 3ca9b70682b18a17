"""`fornada gateway`."""

import contextlib
import os

import click

from fornada import logs
from fornada.commands.output import say
from fornada.metrics.requirement import require_metrics
from fornada.settings import Settings
from fornada.tracing.export import export_traces
from gateway.app import create_app
from gateway.deployment import Deployment
from gateway.server import serve

DEFAULT_PORT = 8080


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Its port.",
)
def gateway(host: str, port: int) -> None:
    """Serve jobs, models and predictions over HTTP, and the console.

    Any number of gateways may run; they keep nothing of their own.

    Example: fornada gateway --port 8080
    """
    settings = Settings.from_env(os.environ)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    end_traces = export_traces(settings, service="fornada-gateway")
    with contextlib.ExitStack() as held:
        metrics = None
        if settings.metrics_port is not None:
            require_metrics()
            from fornada.metrics.process import gateway_metrics  # noqa: PLC0415 - optional package

            metrics = held.enter_context(gateway_metrics(settings))
        app = create_app(Deployment.from_settings(settings, metrics=metrics))
        say(f"the gateway listens on http://{host}:{port}; its API is described at /docs", err=True)
        serve(app, host=host, port=port, at_end=end_traces)
