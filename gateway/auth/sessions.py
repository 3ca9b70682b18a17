"""Sessions of people: a signed token in a cookie names the API key that they came with."""

import hmac
import re
import secrets
import time
from functools import cached_property
from itertools import islice

from fornada.errors import ObjectNotFoundError
from fornada.keys import gateway as gateway_keys
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.trust.deployment_keys import DeploymentKeys, new_key
from gateway.auth.api_keys import KNOWN_FOR_S
from gateway.auth.identity import Identity
from gateway.auth.known import Known
from gateway.auth.principal import Principal

COOKIE = "fornada_session"
#: After this, people log in again.
SESSION_S = 12 * 3600
_TOKEN = re.compile(
    r"(?P<body>(?P<key>(?:admin-)?[0-9a-f]{12})\.(?P<until>[0-9]{1,12})\.(?P<id>[0-9a-f]{32}))\.(?P<hmac>[0-9a-f]{64})"
)
#: Sessions of which is known whether they were ended; records that one logout may delete.
_MOST_KNOWN, _MOST_DELETED = 10_000, 100


class Sessions:
    """Begins sessions, checks and ends them. Safe to share between threads.

    Only those that were ended are kept, in the store, until their time is over.

    Args:
        settings: Their deployment keys sign. Without any, a secret in the store does.
        objects: The store.
        identity: Knows the keys.
    """

    def __init__(self, *, settings: Settings, objects: ObjectStore, identity: Identity) -> None:
        self._settings = settings
        self._objects = objects
        self._identity = identity
        self._ended = Known(self._was_ended, for_s=KNOWN_FOR_S, most=_MOST_KNOWN)

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
        form = self._verified(token)
        if form is None or self._ended.get(_name_of(form)):
            return None
        return self._identity.with_key_id(form["key"])

    def end(self, token: str) -> None:
        """End a session: at once here, within five seconds at other gateways.

        Raises:
            StoreError: The store cannot be reached.
        """
        form = self._verified(token)
        if form is None:
            return
        name = _name_of(form)
        self._objects.put(gateway_keys.ended_session(name), b"ended")
        self._ended.forget(name)
        # Those whose time is over are no sessions anyway.
        over = gateway_keys.ended_session(_padded(int(time.time())))
        for info in islice(self._objects.list(gateway_keys.ENDED_SESSIONS_PREFIX), _MOST_DELETED):
            if info.key >= over:
                break
            self._objects.delete(info.key)

    def form_token(self, token: str) -> str:
        """What each form of a session carries, so that no other page can have made it."""
        return self._sign("form", token)

    def is_form_token(self, token: str, given: str) -> bool:
        """Whether a form is one of this session's."""
        return hmac.compare_digest(self.form_token(token).encode(), given.encode(errors="replace"))

    def _verified(self, token: str) -> re.Match[str] | None:
        """The parts of a token that is ours, and not over."""
        form = _TOKEN.fullmatch(token)
        if form is None or int(form["until"]) < time.time():
            return None
        body = form["body"].encode()
        is_ours = self._keys.verify("session", "session", body, form["hmac"])
        return form if is_ours else None

    def _was_ended(self, name: str) -> bool:
        try:
            self._objects.get(gateway_keys.ended_session(name))
        except ObjectNotFoundError:
            return False
        return True

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


def _name_of(form: re.Match[str]) -> str:
    return f"{_padded(int(form['until']))}-{form['id']}"


def _padded(until: int) -> str:
    return f"{until:012d}"
