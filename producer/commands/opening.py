"""Open the client of a command."""

import os

from fornada import logs
from fornada.errors import UsageError
from fornada.settings import Settings
from fornada.tracing.export import export_traces
from producer.client import Client
from producer.remote.client import RemoteClient
from producer.remote.gateway import Gateway


def client_from_env() -> Client | RemoteClient:
    """The client of the deployment that `FORNADA_*` names, or of the gateway in front of it.

    Sets up logging.

    Raises:
        ConfigError: A setting is wrong.
    """
    settings = _settings()
    if settings.url is not None:
        return RemoteClient(Gateway.from_settings(settings))
    return Client.from_settings(settings)


def gateway_from_env() -> Gateway | None:
    """The gateway that `FORNADA_*` names, if it names one.

    Raises:
        ConfigError: A setting is wrong.
    """
    settings = _settings()
    return None if settings.url is None else Gateway.from_settings(settings)


def own_client_from_env(command: str) -> Client:
    """The client of the deployment itself, for a command that no gateway offers.

    Raises:
        ConfigError: A setting is wrong.
        UsageError: The settings name a gateway.
    """
    settings = _settings()
    if settings.url is not None:
        raise UsageError(
            f"`{command}` reaches Redis and the store itself, and FORNADA_URL names a gateway; "
            "unset it, and set FORNADA_REDIS_URL and FORNADA_S3_*"
        )
    return Client.from_settings(settings)


def _settings() -> Settings:
    settings = Settings.from_env(os.environ)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    export_traces(settings, service="fornada")
    return settings
