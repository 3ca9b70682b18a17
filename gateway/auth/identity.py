"""Who sends a request: the owner of its API key, or the subject of its token."""

import hmac
from dataclasses import dataclass
from typing import Self

from pydantic import SecretStr

from fornada.errors import ConfigError
from fornada.records import sha256_hex
from fornada.settings import Settings
from gateway.auth.api_keys import TOKEN_PREFIX, ApiKeys
from gateway.auth.errors import UnauthenticatedError
from gateway.auth.principal import Principal
from gateway.auth.rates import Rates
from gateway.auth.scopes import Scope
from gateway.auth.tokens import Tokens

_LEAST_CHARACTERS = 32
_ADMIN = Principal(owner="admin", scopes=frozenset({Scope.ADMIN}))
_ADMIN_ID = "admin-"
_REMEDY = "send `Authorization: Bearer KEY` with a key that `fornada keys create` made"


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Finds callers. Safe to share between threads."""

    api_keys: ApiKeys
    rates: Rates
    tokens: Tokens | None = None
    #: The administrator's key, which is in the gateway's settings and not in the store.
    admin_key: SecretStr | None = None

    @classmethod
    def from_settings(cls, settings: Settings, *, api_keys: ApiKeys) -> Self:
        """As the settings say; nothing is contacted yet.

        Raises:
            ConfigError: The settings of tokens are incomplete, or the administrator's key is short.
        """
        admin_key = settings.api_key
        if admin_key is not None and len(admin_key.get_secret_value()) < _LEAST_CHARACTERS:
            raise ConfigError(
                f"FORNADA_API_KEY has fewer than {_LEAST_CHARACTERS} characters; make one with "
                "`openssl rand -hex 32`"
            )
        return cls(
            admin_key=admin_key,
            api_keys=api_keys,
            rates=Rates.from_settings(settings),
            tokens=Tokens.from_settings(settings),
        )

    def caller(self, credential: str | None) -> Principal:
        """The caller who sends `credential`, a key or a token.

        Raises:
            UnauthenticatedError: It is missing, unknown, revoked or expired.
            RateExceededError: The caller has made as many requests as it may.
            BrokerError, StoreError: Redis or the store cannot be reached.
        """
        caller = self.principal_of(credential)
        self.rates.check(caller)
        return caller

    def principal_of(self, credential: str | None) -> Principal:
        """The caller, without counting a request.

        Raises:
            UnauthenticatedError, StoreError: As `caller`.
        """
        if credential is None:
            raise UnauthenticatedError(f"the request has no key; {_REMEDY}")
        if self._is_admin(credential):
            return _ADMIN
        if credential.startswith(TOKEN_PREFIX):
            return self.api_keys.principal_of(credential)
        if self.tokens is not None:
            return self.tokens.principal_of(credential)
        raise UnauthenticatedError(f"what the request sends is no API key; {_REMEDY}")

    def known_caller(self, credential: str | None) -> Principal | None:
        """The caller, if that is known without asking anyone; an event loop may call this."""
        if credential is None:
            return None
        if self._is_admin(credential):
            return _ADMIN
        if not credential.startswith(TOKEN_PREFIX):
            return None
        caller = self.api_keys.known_principal(credential)
        return None if caller is None or caller.rate is not None else caller

    def key_id(self, credential: str) -> str:
        """The id of an API key, by which `with_key_id` finds its caller again.

        Raises:
            UnauthenticatedError: It is no key, or was revoked.
            StoreError: The store cannot be reached.
        """
        return self._admin_id if self._is_admin(credential) else self.api_keys.key_id_of(credential)

    def with_key_id(self, key_id: str) -> Principal | None:
        """The caller whose key has this id; `None` if there is none, or it was revoked.

        Raises:
            StoreError: The store cannot be reached.
        """
        if key_id.startswith(_ADMIN_ID):
            # It changes with the key, so that sessions end with it.
            is_admin = self.admin_key is not None and hmac.compare_digest(self._admin_id, key_id)
            return _ADMIN if is_admin else None
        return self.api_keys.principal_with_id(key_id)

    @property
    def _admin_id(self) -> str:
        key = "" if self.admin_key is None else self.admin_key.get_secret_value()
        return f"{_ADMIN_ID}{sha256_hex(key.encode())[:12]}"

    def _is_admin(self, credential: str) -> bool:
        key = self.admin_key
        return key is not None and hmac.compare_digest(
            key.get_secret_value().encode(), credential.encode()
        )
