"""prometheus-client: an optional package, imported only where metrics are asked for."""

import importlib.util

from fornada.errors import MissingExtraError


def require_metrics() -> None:
    """Check that metrics can be counted.

    Raises:
        MissingExtraError: prometheus-client is not installed.
    """
    if importlib.util.find_spec("prometheus_client") is None:
        raise MissingExtraError(
            "FORNADA_METRICS_PORT needs prometheus-client, which is not installed; "
            "pip install 'fornada[metrics]', or unset it"
        )
