"""Credentials and ports of the embedded servers, generated once for each data folder."""

import os
import secrets
from pathlib import Path

from fornada.errors import LocalDiskError
from fornada.records import Record


class Credentials(Record):
    """Random secrets, and the last ports, so that exported settings stay valid."""

    redis_password: str
    s3_access_key_id: str
    s3_secret_access_key: str
    redis_port: int | None = None
    s3_port: int | None = None


def new_credentials() -> Credentials:
    """New random credentials."""
    return Credentials(
        redis_password=secrets.token_urlsafe(24),
        s3_access_key_id=secrets.token_hex(10).upper(),
        s3_secret_access_key=secrets.token_urlsafe(30),
    )


def load_credentials(path: Path) -> Credentials:
    """The credentials in the file, or new ones if there is no file.

    Raises:
        MessageError: The file does not hold credentials.
    """
    if not path.exists():
        return new_credentials()
    return Credentials.from_json(path.read_bytes(), where=str(path))


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
            f"{path} cannot be written: {exc}; free space or choose --data"
        ) from exc
