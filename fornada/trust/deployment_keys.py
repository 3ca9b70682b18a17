"""Keys that a deployment's producers and workers share, and what they sign in Redis and the store.

Who can write to Redis alone has none of them, and so authors nothing that is believed.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Self

from pydantic import StringConstraints

from fornada.errors import ConfigError
from fornada.records import sha256_hex
from fornada.settings import Settings

#: What is signed. A signature of one kind is worth nothing for another.
Kind = Literal["manifest", "call", "answer", "decision", "end", "verdict", "session"]
Hmac = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

KEY_BYTES = 32
#: Length of a signature.
HMAC_DIGITS = 64


class DeploymentKeys:
    """The keys of a deployment, of which the first signs and each verifies."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._keys = tuple(keys)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The keys in `settings`, of which there may be none.

        Raises:
            ConfigError: One is not 64 hex digits. The message shows no part of it.
        """
        secret = settings.deployment_keys
        texts = [] if secret is None else secret.get_secret_value().split(",")
        return cls([_key(text.strip(), number=n) for n, text in enumerate(texts, start=1)])

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __repr__(self) -> str:
        return f"DeploymentKeys({len(self._keys)} keys)"

    def derived(self, derive: Callable[[bytes], bytes]) -> list[bytes]:
        """What `derive` makes of each key, the first first: keys for another purpose."""
        return [derive(key) for key in self._keys]

    def sign(self, kind: Kind, name: str, data: bytes) -> str | None:
        """The signature of `data` by the first key; `None` without a key.

        Args:
            kind: What it is.
            name: Whose it is: the id of its job or call.
            data: The bytes as written.
        """
        return _hmac(self._keys[0], kind, name, data) if self._keys else None

    def verify(self, kind: Kind, name: str, data: bytes, signature: str | None) -> bool:
        """Whether one of the keys signed these bytes; without a key, nothing is signed."""
        return signature is not None and any(
            # As bytes: text that is not ASCII cannot be compared, and anyone may have sent it.
            hmac.compare_digest(
                _hmac(key, kind, name, data).encode(), signature.encode(errors="replace")
            )
            for key in self._keys
        )


#: Of a deployment without keys.
NO_KEYS = DeploymentKeys()


def new_key() -> str:
    """A new key, as `FORNADA_DEPLOYMENT_KEYS` has it."""
    return secrets.token_hex(KEY_BYTES)


def _key(text: str, *, number: int) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"key {number} in FORNADA_DEPLOYMENT_KEYS is not {2 * KEY_BYTES} hex digits; make one "
            "with: openssl rand -hex 32"
        )
    return key


def _hmac(key: bytes, kind: Kind, name: str, data: bytes) -> str:
    signed = f"fornada:{kind}:v1\n{name}\n{sha256_hex(data)}"
    return hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()
