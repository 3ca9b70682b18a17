"""Open the client of a command."""

import os

from fornada import logs
from fornada.settings import Settings
from producer.client import Client


def client_from_env() -> Client:
    """The client of the deployment that `FORNADA_*` names; sets up logging."""
    settings = Settings.from_env(os.environ)
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    return Client.from_settings(settings)
