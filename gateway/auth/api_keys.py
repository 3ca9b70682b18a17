"""API keys: made once, shown once, and kept in the store as what they allow and a digest."""

import hmac
import re
import secrets
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from fornada import keys
from fornada.errors import MessageError, ObjectNotFoundError
from fornada.keys import gateway as gateway_keys
from fornada.logs import get_logger
from fornada.records import Name, Record, Sha256, sha256_hex
from fornada.storage.interface import ObjectStore
from fornada.trust.input_prefixes import parse_prefix
from gateway.auth.errors import UnauthenticatedError
from gateway.auth.known import Known
from gateway.auth.principal import Principal
from gateway.auth.rates import rate_of
from gateway.auth.scopes import Scope

log = get_logger(__name__)

#: What a key begins with, so that scanners of code and logs know one.
TOKEN_PREFIX = "fornada_"  # noqa: S105 - no secret
#: A key's id, and 256 random bits. A digest of these needs no salt, nor a slow hash.
_TOKEN = re.compile(TOKEN_PREFIX + r"(?P<id>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})")
#: How long a gateway goes on with a key that was revoked.
KNOWN_FOR_S = 5.0
_MOST_KNOWN = 10_000


class ApiKey(Record):
    """What a key allows, as stored."""

    schema_version: Literal[1] = 1
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    #: The owner of the jobs that it submits; several keys may share one.
    owner: Name
    #: Of the whole key.
    sha256: Sha256
    scopes: list[Scope] = Field(strict=False)
    prefixes: list[str] = Field(default_factory=list)
    queues: list[Name] | None = None
    rate: str | None = None
    open_items: int | None = Field(ge=0, default=None)
    created_at: AwareDatetime
    revoked_at: AwareDatetime | None = None

    def principal(self) -> Principal:
        """Its caller."""
        return Principal(
            owner=self.owner,
            scopes=frozenset(self.scopes),
            prefixes=self.prefixes,
            queues=self.queues,
            rate=self.rate,
            open_items=self.open_items,
        )


class ApiKeys:
    """The API keys of a deployment. Safe to share between threads."""

    def __init__(self, *, objects: ObjectStore) -> None:
        self._objects = objects
        self._known = Known(self._stored, for_s=KNOWN_FOR_S, most=_MOST_KNOWN)

    def create(
        self,
        owner: str,
        *,
        scopes: Sequence[Scope],
        prefixes: Sequence[str] = (),
        queues: Sequence[str] | None = None,
        rate: str | None = None,
        open_items: int | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key, and the text that its caller sends; the text is not kept.

        Raises:
            UsageError: `owner` is not a name, or `rate` no rate.
            ConfigError: A prefix is no `s3://bucket/prefix`.
            StoreError: The store cannot be reached.
        """
        keys.check_name("owner", owner)
        for prefix in prefixes:
            parse_prefix(prefix, where="the key")
        if rate is not None:
            rate_of(rate)
        key_id = secrets.token_hex(6)
        token = f"{TOKEN_PREFIX}{key_id}_{secrets.token_urlsafe(32)}"
        key = ApiKey(
            id=key_id,
            owner=owner,
            sha256=sha256_hex(token.encode()),
            scopes=list(scopes),
            prefixes=list(prefixes),
            queues=None if queues is None else list(queues),
            rate=rate,
            open_items=open_items,
            created_at=self._objects.server_time(),
        )
        self._objects.put(gateway_keys.api_key(key_id), key.to_json())
        return key, token

    def all(self) -> list[ApiKey]:
        """All keys, the oldest first; one that cannot be read is left out and logged."""
        found = (self._read(info.key) for info in self._objects.list(gateway_keys.API_KEYS_PREFIX))
        return sorted((key for key in found if key is not None), key=lambda key: key.created_at)

    def revoke(self, key_id: str) -> ApiKey:
        """End a key; gateways follow within five seconds.

        Raises:
            UsageError: `key_id` is not a name.
            ObjectNotFoundError: There is no such key.
        """
        name = gateway_keys.api_key(keys.check_name("key id", key_id))
        key = ApiKey.from_json(self._objects.get(name).data, where=name)
        if key.revoked_at is None:
            key = key.model_copy(update={"revoked_at": self._objects.server_time()})
            self._objects.put(name, key.to_json())
        self._known.forget(key_id)
        return key

    def principal_of(self, token: str) -> Principal:
        """The caller who sends `token`.

        Raises:
            UnauthenticatedError: It is no key of this deployment, or was revoked.
            StoreError: The store cannot be reached.
        """
        caller = self.known_principal(token)
        if caller is not None:
            return caller
        form = _TOKEN.fullmatch(token)
        caller = self._principal(token, self._known.get(form["id"])) if form else None
        if caller is None:
            raise UnauthenticatedError(
                "the API key is unknown or revoked; send `Authorization: Bearer KEY` with a key "
                "that `fornada keys create` made"
            )
        return caller

    def key_id_of(self, token: str) -> str:
        """The id of the key that `token` is.

        Raises:
            UnauthenticatedError, StoreError: As `principal_of`.
        """
        self.principal_of(token)
        return token.split("_")[1]

    def principal_with_id(self, key_id: str) -> Principal | None:
        """The caller whose key has this id; `None` if there is none, or it was revoked.

        Raises:
            StoreError: The store cannot be reached.
        """
        key = self._known.get(key_id)
        return None if key is None or key.revoked_at is not None else key.principal()

    def known_principal(self, token: str) -> Principal | None:
        """The caller who sends `token`, if the key was read lately and need not be read now."""
        form = _TOKEN.fullmatch(token)
        entry = self._known.at_hand(form["id"]) if form else None
        return None if entry is None else self._principal(token, entry.value)

    def _principal(self, token: str, key: ApiKey | None) -> Principal | None:
        if key is None or key.revoked_at is not None:
            return None
        right = hmac.compare_digest(key.sha256, sha256_hex(token.encode()))
        return key.principal() if right else None

    def _stored(self, key_id: str) -> ApiKey | None:
        return self._read(gateway_keys.api_key(key_id))

    def _read(self, name: str) -> ApiKey | None:
        try:
            return ApiKey.from_json(self._objects.get(name).data, where=name)
        except ObjectNotFoundError:
            return None
        except MessageError as exc:
            log.warning("API key not readable", key=name, error=str(exc))
            return None
