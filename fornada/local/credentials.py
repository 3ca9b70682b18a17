"""Credentials and ports of the embedded servers, generated once for each data folder."""

import os
import secrets
from pathlib import Path

from fornada.errors import LocalDiskError
from fornada.files.refusals import what_helps
from fornada.records import Record
from fornada.trust.deployment_keys import new_key


class Credentials(Record):
    """Random secrets, and the last ports, so that exported settings stay valid."""

    redis_password: str
    s3_access_key_id: str
    s3_secret_access_key: str
    #: Comma-separated; the first signs. Absent in folders from before there were keys.
    deployment_keys: str | None = None
    #: Of the gateway's administrator. Absent in folders from before there was a gateway.
    api_key: str | None = None
    redis_port: int | None = None
    s3_port: int | None = None
    gateway_port: int | None = None


def new_credentials() -> Credentials:
    """New random credentials."""
    return Credentials(
        redis_password=secrets.token_urlsafe(24),
        s3_access_key_id=secrets.token_hex(10).upper(),
        s3_secret_access_key=secrets.token_urlsafe(30),
        deployment_keys=new_key(),
        api_key=new_key(),
    )


def load_credentials(path: Path) -> Credentials:
    """The credentials in the file, with all keys; new ones if there is no file.

    Raises:
        MessageError: The file does not hold credentials.
    """
    if not path.exists():
        return new_credentials()
    kept = Credentials.from_json(path.read_bytes(), where=str(path))
    missing = [name for name in ("deployment_keys", "api_key") if getattr(kept, name) is None]
    return kept.model_copy(update={name: new_key() for name in missing})


def write_private(path: Path, data: bytes) -> None:
    """Replace the file atomically; only its owner may read it.

    Raises:
        LocalDiskError: The file cannot be written.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.unlink(missing_ok=True)
        # Exclusive, which follows no link.
        opened = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(opened, "wb") as file:
            file.write(data)
        beside.replace(path)
    except OSError as exc:
        raise LocalDiskError(
            f"{path} cannot be written: {exc.strerror or exc}; {what_helps(exc)}, or choose --data"
        ) from exc
