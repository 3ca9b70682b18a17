"""The secrets of webhooks: made or given, and kept encrypted under the deployment's keys."""

import base64
import binascii
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fornada.trust.deployment_keys import DeploymentKeys
from gateway.webhooks.errors import WebhookCallError, WebhookRefusedError, WebhooksOffError

PREFIX = "whsec_"
#: As Standard Webhooks has it.
_MIN_BYTES, _MAX_BYTES = 24, 64
_NONCE_BYTES = 12
_PURPOSE = b"fornada:webhook-secrets:v1"


class WebhookSecrets:
    """Makes, seals and opens secrets. The first key seals; each opens, so keys may change.

    A sealed secret is of one job and one URL: elsewhere it does not open.
    """

    def __init__(self, deployment_keys: DeploymentKeys) -> None:
        self._keys = deployment_keys.derived(_key)
        self._makers = deployment_keys.derived(_maker)

    def made(self, job_id: str, url: str) -> str:
        """A secret for the webhook; the same again, should the caller not have got the answer.

        Raises:
            WebhooksOffError: There is no key.
        """
        self._require()
        made = _hkdf(self._makers[0], f"{job_id}\n{url}".encode())
        return PREFIX + base64.b64encode(made).decode()

    def checked(self, given: str) -> str:
        """A secret that a caller gives.

        Raises:
            WebhookRefusedError: It is none, or too short.
        """
        try:
            size = len(base64.b64decode(given.removeprefix(PREFIX), validate=True))
        except (binascii.Error, ValueError):
            size = 0
        if not given.startswith(PREFIX) or not _MIN_BYTES <= size <= _MAX_BYTES:
            raise WebhookRefusedError(
                f"webhook.secret is not {PREFIX} and the base64 of {_MIN_BYTES} to {_MAX_BYTES} "
                "bytes; give such a one, or leave it out and one is made"
            )
        return given

    def seal(self, secret: str, job_id: str, url: str) -> str:
        """The secret as it is kept.

        Raises:
            WebhooksOffError: There is no key.
        """
        self._require()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(self._keys[0]).encrypt(nonce, secret.encode(), _bound_to(job_id, url))
        return base64.b64encode(nonce + sealed).decode()

    def open(self, sealed: str, job_id: str, url: str) -> str:
        """The secret that was sealed.

        Raises:
            WebhookCallError: None of the keys sealed it, for this job and this URL.
        """
        try:
            kept = base64.b64decode(sealed, validate=True)
        except (binascii.Error, ValueError):
            kept = b""
        for key in self._keys:
            try:
                opened = AESGCM(key).decrypt(
                    kept[:_NONCE_BYTES], kept[_NONCE_BYTES:], _bound_to(job_id, url)
                )
            except (InvalidTag, ValueError):
                continue
            return opened.decode()
        raise WebhookCallError(
            "the webhook's secret was sealed with a key that FORNADA_DEPLOYMENT_KEYS has not; add "
            "that key"
        )

    def _require(self) -> None:
        if not self._keys:
            raise WebhooksOffError(
                "FORNADA_DEPLOYMENT_KEYS is not set, and webhooks' secrets are kept under it; set "
                "it for producers, workers and gateways: openssl rand -hex 32"
            )


def _key(deployment_key: bytes) -> bytes:
    return _hkdf(deployment_key, _PURPOSE)


def _maker(deployment_key: bytes) -> bytes:
    return _hkdf(deployment_key, _PURPOSE + b":made")


def _hkdf(key: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key)


def _bound_to(job_id: str, url: str) -> bytes:
    return f"{job_id}\n{url}".encode()
