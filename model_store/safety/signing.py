"""Sign manifests and verify them: Ed25519 by `cryptography`, with keys in PEM files.

A signature covers the bytes of the manifest, and through the sha256 in it the artifact.
"""

import base64
import binascii
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fornada.errors import ConfigError, MissingExtraError, ModelRefusedError, UsageError
from fornada.records import SCHEMA_VERSION, Record, Sha256, sha256_hex

_KEYGEN = "openssl genpkey -algorithm ed25519 -out private.pem"


class ManifestSignature(Record):
    """`signatures/<key id>.json` of a version."""

    schema_version: Literal[1] = SCHEMA_VERSION
    algorithm: Literal["ed25519"] = "ed25519"
    #: sha256 of the 32 bytes of the public key.
    key_id: Sha256
    #: Signs the bytes of `manifest.json`; in base64.
    signature: str


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies signatures."""

    _key: Any
    key_id: str

    @classmethod
    def read(cls, path: Path) -> "PublicKey":
        """The key in a PEM file.

        Raises:
            ConfigError: It cannot be read, or is not an Ed25519 public key.
            MissingExtraError: `cryptography` is not installed.
        """
        serialization, ed25519 = _cryptography()
        try:
            key = serialization.load_pem_public_key(path.read_bytes())
        except (OSError, ValueError) as exc:
            raise ConfigError(f"the public key {path} cannot be read: {exc}") from exc
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise ConfigError(
                f"{path} is not an Ed25519 public key; make one with: {_KEYGEN} && "
                "openssl pkey -in private.pem -pubout -out public.pem"
            )
        return cls(key, _key_id(key))

    def verify(self, manifest: bytes, signature: ManifestSignature, *, where: str) -> None:
        """Check that the owner of this key signed these bytes.

        Args:
            manifest: The bytes of the manifest, as stored.
            signature: The signature stored with it.
            where: The model, for the message.

        Raises:
            ModelRefusedError: The signature is another.
        """
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - optional

        try:
            self._key.verify(base64.b64decode(signature.signature, validate=True), manifest)
        except (InvalidSignature, binascii.Error) as exc:
            raise ModelRefusedError(
                f"the signature of {where} does not fit its manifest, which was changed after it "
                "was signed; publish a new version and sign that"
            ) from exc


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key that signs."""

    _key: Any
    key_id: str

    @classmethod
    def read(cls, path: Path) -> "PrivateKey":
        """The key in a PEM file without a password.

        Raises:
            UsageError: It cannot be read, or is not an Ed25519 private key.
            MissingExtraError: `cryptography` is not installed.
        """
        serialization, ed25519 = _cryptography()
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, TypeError, ValueError) as exc:
            # The cause may quote the file, which is secret.
            raise UsageError(
                f"the private key {path} cannot be read ({type(exc).__name__}); make one with: "
                f"{_KEYGEN}"
            ) from exc
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise UsageError(f"{path} is not an Ed25519 private key; make one with: {_KEYGEN}")
        return cls(key, _key_id(key.public_key()))

    def sign(self, manifest: bytes) -> ManifestSignature:
        """Sign the bytes of a manifest."""
        signature = base64.b64encode(self._key.sign(manifest)).decode()
        return ManifestSignature(key_id=self.key_id, signature=signature)


def _key_id(public_key: Any) -> str:
    return sha256_hex(public_key.public_bytes_raw())


def _cryptography() -> tuple[Any, Any]:
    primitives = "cryptography.hazmat.primitives"
    try:
        # Most deployments sign nothing.
        return (
            importlib.import_module(f"{primitives}.serialization"),
            importlib.import_module(f"{primitives}.asymmetric.ed25519"),
        )
    except ImportError as exc:
        raise MissingExtraError(
            "signatures need cryptography; run: pip install 'fornada[signing]'"
        ) from exc
