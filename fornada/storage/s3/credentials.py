"""Credentials for the store: the settings' keys, or what boto3 finds and renews while they last."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from fornada.settings import Settings

#: How long an attempt to renew that failed stands for all requests.
_RETRY_AFTER_S = 5.0
#: What boto3's providers raise, or let through from files, processes and other services.
_FAILURES = (BotoCoreError, ClientError, OSError, RuntimeError, ValueError, LookupError)


class CredentialsUnusableError(Exception):
    """No credentials were found, or they cannot be renewed; the cause says why."""


class CredentialSource(Protocol):
    """Gives the keys that are valid at this moment, as `botocore.credentials` does."""

    def get_frozen_credentials(self) -> Any:
        """Access key, secret and token; they may have changed at the next request.

        Raises:
            CredentialsUnusableError: There are none.
        """


class RenewedCredentials:
    """What boto3 found; it renews them before they expire."""

    def __init__(self, found: Any, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._found = found
        self._clock = clock
        self._lock = threading.Lock()
        self._failure: Exception | None = None
        self._failed_at_s = 0.0

    def get_frozen_credentials(self) -> Any:
        """Access key, secret and token.

        Raises:
            CredentialsUnusableError: They cannot be renewed. Within five seconds no other attempt
                is made, so that threads do not wait for each other's.
        """
        with self._lock:
            if self._failure is not None and self._clock() < self._failed_at_s + _RETRY_AFTER_S:
                raise CredentialsUnusableError from self._failure
        try:
            with _named():
                return self._found.get_frozen_credentials()
        except CredentialsUnusableError as exc:
            with self._lock:
                cause = exc.__cause__
                self._failure = cause if isinstance(cause, Exception) else exc
                self._failed_at_s = self._clock()
            raise

    def __getattr__(self, name: str) -> Any:
        """The rest of what boto3 asks of credentials."""
        return getattr(self._found, name)


class _Provider:
    """Stands in for boto3's own chain of providers, and names its errors."""

    def __init__(self, chain: Any) -> None:
        self._chain = chain

    def load_credentials(self) -> RenewedCredentials:
        with _named():
            found = self._chain.load_credentials()
        if found is None:
            raise CredentialsUnusableError from NoCredentialsError()
        return RenewedCredentials(found)


def session_of(settings: Settings) -> Any:
    """A session of botocore with the settings' keys, or else with what boto3 finds.

    Raises:
        CredentialsUnusableError: The profile or a file of boto3's configuration is wrong.
    """
    import botocore.session  # noqa: PLC0415 - 20 ms that many commands save

    with _named():
        session = botocore.session.Session()
        # Reads the files.
        session.get_scoped_config()
    if settings.s3_access_key_id is not None:
        session.set_credentials(*_keys(settings))
    else:
        _without_tracebacks()
        chain = session.get_component("credential_provider")
        session.register_component("credential_provider", _Provider(chain))
    return session


def keys_of(settings: Settings) -> Credentials | None:
    """The settings' own keys, which do not expire."""
    return Credentials(*_keys(settings)) if settings.s3_access_key_id is not None else None


def _keys(settings: Settings) -> tuple[str | None, str | None]:
    secret = settings.s3_secret_access_key
    return settings.s3_access_key_id, secret.get_secret_value() if secret else None


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except _FAILURES as exc:
        raise CredentialsUnusableError from exc


def _without_tracebacks() -> None:
    """Keep boto3 from logging a traceback for each failed renewal, and where it found keys."""
    logger = logging.getLogger("botocore.credentials")
    if _is_for_people not in logger.filters:
        logger.addFilter(_is_for_people)


def _is_for_people(record: logging.LogRecord) -> bool:
    # Whoever made the request reports the same failure.
    return record.levelno >= logging.WARNING and not record.exc_info
