"""The Redis server that the settings name, with its credentials."""

import dataclasses
import importlib
from typing import Any

from redis import CredentialProvider

from fornada.errors import ConfigError
from fornada.redis_server.url import RedisAddress, parse_redis_url
from fornada.settings import Settings


def redis_address(settings: Settings) -> RedisAddress:
    """Where the server is and how to connect to it; makes no contact.

    Raises:
        ConfigError: FORNADA_REDIS_URL is not a URL or has an unknown option, or
            FORNADA_REDIS_CREDENTIALS yields no credentials.
    """
    address = parse_redis_url(settings.redis_url.get_secret_value())
    if settings.redis_credentials is None:
        return address
    if {"username", "password"} & address.options.keys():
        raise ConfigError(
            "FORNADA_REDIS_URL has a user or password, and FORNADA_REDIS_CREDENTIALS yields them; "
            "leave one out"
        )
    provider = _made_by(settings.redis_credentials)
    return dataclasses.replace(
        address, options={**address.options, "credential_provider": provider}
    )


def _made_by(target: str) -> CredentialProvider:
    module, _, name = target.partition(":")
    try:
        made: Any = getattr(importlib.import_module(module), name)()
    except MemoryError:
        raise
    except Exception as exc:
        raise ConfigError(
            f"FORNADA_REDIS_CREDENTIALS is {target!r}, which fails ({type(exc).__name__}: {exc}); "
            "give package.module:function, which takes nothing and returns a CredentialProvider of "
            "redis-py"
        ) from exc
    if not isinstance(made, CredentialProvider):
        raise ConfigError(
            f"FORNADA_REDIS_CREDENTIALS is {target!r}, which returns {type(made).__name__}; return "
            "a CredentialProvider of redis-py"
        )
    return made
