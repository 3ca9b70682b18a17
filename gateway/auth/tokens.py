"""Tokens of an identity provider (OIDC), beside API keys."""

import hashlib
from collections.abc import Sequence
from typing import Any, Self

import jwt
import urllib3
from jwt import PyJWKClient

from fornada.errors import ConfigError
from fornada.keys import is_name
from fornada.settings import Settings
from gateway.auth.errors import UnauthenticatedError
from gateway.auth.principal import Principal
from gateway.auth.scopes import Scope

#: Signed with a private key that the provider alone has.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
#: How far clocks may differ.
_LEEWAY_S = 30
_TIMEOUT_S = 5.0
_KEYS_FOR_S = 300
_MAX_CONFIGURATION_BYTES = 1024 * 1024


class Tokens:
    """Verifies tokens of one issuer for one audience. Safe to share between threads.

    Args:
        issuer: The issuer, as tokens name it.
        audience: What tokens have to be made for.
        jwks_url: Where its public keys are; `None`: as its OIDC configuration says.
    """

    def __init__(self, *, issuer: str, audience: str, jwks_url: str | None = None) -> None:
        self._issuer = issuer
        self._audience = audience
        self._jwks_url = jwks_url
        self._keys: PyJWKClient | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """As the settings say; `None` if tokens are not accepted.

        Raises:
            ConfigError: Only one of issuer and audience is set.
        """
        issuer, audience = settings.jwt_issuer, settings.jwt_audience
        if issuer is None and audience is None:
            return None
        if issuer is None or audience is None:
            raise ConfigError(
                "FORNADA_JWT_ISSUER and FORNADA_JWT_AUDIENCE belong together, and one is missing; "
                "set both or neither"
            )
        return cls(issuer=issuer, audience=audience, jwks_url=settings.jwt_jwks_url)

    def principal_of(self, token: str) -> Principal:
        """The caller whom the token names.

        Its `sub` owns the jobs; `scope` (or `scp`) has scopes, and `fornada_prefixes` and
        `fornada_queues`, if there, lists of what an API key has.

        Raises:
            UnauthenticatedError: It is not valid, or the issuer's keys cannot be had.
        """
        try:
            key = self._key_client().get_signing_key_from_jwt(token)
            claims = jwt.decode(
                token,
                key.key,
                algorithms=_ALGORITHMS,
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "sub"]},
            )
        except (jwt.PyJWTError, ConnectionError) as exc:
            raise UnauthenticatedError(
                f"the token is not valid here: {exc}; ask {self._issuer} for another one"
            ) from exc
        return _principal_of(claims)

    def _key_client(self) -> PyJWKClient:
        if self._keys is None:
            url = self._jwks_url or self._configured_url()
            self._keys = PyJWKClient(url, timeout=_TIMEOUT_S, lifespan=_KEYS_FOR_S)
        return self._keys

    def _configured_url(self) -> str:
        address = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            answer = urllib3.request(
                "GET", address, timeout=_TIMEOUT_S, retries=False, preload_content=False
            )
            found = answer.read(_MAX_CONFIGURATION_BYTES)
            url = urllib3.HTTPResponse(body=found).json().get("jwks_uri")
        except (urllib3.exceptions.HTTPError, ValueError, AttributeError) as exc:
            raise ConnectionError(f"{address} cannot be read ({exc})") from exc
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise ConnectionError(f"{address} names no jwks_uri")
        return url


def _principal_of(claims: dict[str, Any]) -> Principal:
    subject = str(claims["sub"])
    digest = hashlib.sha256(subject.encode()).hexdigest()
    return Principal(
        # A subject may be any text, and a job's owner is a name.
        owner=subject if is_name(subject) else f"sub-{digest[:40]}",
        scopes=frozenset(_scopes_of(claims)),
        prefixes=_texts(claims.get("fornada_prefixes")) or (),
        queues=_texts(claims.get("fornada_queues")),
    )


def _scopes_of(claims: dict[str, Any]) -> list[Scope]:
    given = claims.get("scope", claims.get("scp", ()))
    words = given.split() if isinstance(given, str) else _texts(given) or ()
    return [Scope(word) for word in words if word in set(Scope)]


def _texts(given: object) -> Sequence[str] | None:
    if not isinstance(given, list):
        return None
    return [text for text in given if isinstance(text, str)]
