"""Redis servers unlike the tests' own: on a socket, in a cluster, with replicas."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from fornada.local.ports import HOST, free_port
from fornada.local.valkey import valkey_binary

StartServer = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start_server(tmp_path: Path, wait_until: Callable[..., None]) -> Iterator[StartServer]:
    """`start_server(port, *lines, sentinel=False)`: a Valkey with these lines of configuration."""
    with contextlib.ExitStack() as servers:

        def start(port: int, *lines: str, sentinel: bool = False) -> subprocess.Popen[bytes]:
            folder = tmp_path / f"server-{port}"
            folder.mkdir()
            # Sentinel rewrites its configuration.
            path = folder / "server.conf"
            path.write_text("\n".join([f"port {port}", f"bind {HOST}", f"dir {folder}", *lines]))
            command = [valkey_binary(), str(path), *(["--sentinel"] if sentinel else [])]
            with (folder / "log").open("wb") as log:
                server = subprocess.Popen(command, stdout=log, stderr=log)
            servers.callback(server.wait)
            servers.callback(server.kill)
            if port:
                client = servers.enter_context(redis.Redis(HOST, port))
                wait_until(lambda: _answers(client))
            return server

        yield start


@pytest.fixture
def port() -> int:
    """A port on loopback that is free now."""
    return free_port()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.AuthenticationError:
        return True
    except redis.RedisError:
        return False
