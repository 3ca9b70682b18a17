"""Sessions of people: a signed token in a cookie names the API key that they came with."""

import hmac
import re
import secrets
import time
from functools import cached_property

from fornada.errors import ObjectNotFoundError
from fornada.keys import gateway as gateway_keys
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.trust.deployment_keys import DeploymentKeys, new_key
from gateway.auth.identity import Identity
from gateway.auth.principal import Principal

COOKIE = "fornada_session"
#: After this, people log in again.
SESSION_S = 12 * 3600
_TOKEN = re.compile(
    r"(?P<body>(?P<key>(?:admin-)?[0-9a-f]{12})\.(?P<until>[0-9]{1,12})\.[0-9a-f]{32})\.(?P<hmac>[0-9a-f]{64})"
)


class Sessions:
    """Begins sessions and checks them; keeps none. Safe to share between threads.

    Args:
        settings: Their deployment keys sign. Without any, a secret in the store does.
        objects: The store.
        identity: Knows the keys.
    """

    def __init__(self, *, settings: Settings, objects: ObjectStore, identity: Identity) -> None:
        self._settings = settings
        self._objects = objects
        self._identity = identity

    def begin(self, api_key: str) -> str:
        """The token of a new session of whoever has the API key.

        Raises:
            UnauthenticatedError: It is no key of this deployment, or was revoked.
            StoreError: The store cannot be reached.
        """
        key_id = self._identity.key_id(api_key)
        body = f"{key_id}.{int(time.time()) + SESSION_S}.{secrets.token_hex(16)}"
        return f"{body}.{self._sign('session', body)}"

    def principal_of(self, token: str) -> Principal | None:
        """Whose session it is; `None` if it is none, or over, or its key was revoked.

        Raises:
            StoreError: The store cannot be reached.
        """
        form = _TOKEN.fullmatch(token)
        if form is None or int(form["until"]) < time.time():
            return None
        body = form["body"].encode()
        is_ours = self._keys.verify("session", "session", body, form["hmac"])
        return self._identity.with_key_id(form["key"]) if is_ours else None

    def form_token(self, token: str) -> str:
        """What each form of a session carries, so that no other page can have made it."""
        return self._sign("form", token)

    def is_form_token(self, token: str, given: str) -> bool:
        """Whether a form is one of this session's."""
        return hmac.compare_digest(self.form_token(token).encode(), given.encode(errors="replace"))

    def _sign(self, use: str, text: str) -> str:
        return self._keys.sign("session", use, text.encode()) or ""

    @cached_property
    def _keys(self) -> DeploymentKeys:
        found = DeploymentKeys.from_settings(self._settings)
        return found or DeploymentKeys([self._stored_secret()])

    def _stored_secret(self) -> bytes:
        self._objects.put_if_absent(gateway_keys.SESSION_SECRET, new_key().encode())
        try:
            return bytes.fromhex(self._objects.get(gateway_keys.SESSION_SECRET).data.decode())
        except (ObjectNotFoundError, ValueError):
            # Whoever damaged it ends the sessions; nobody learns a secret from that.
            return secrets.token_bytes(32)
