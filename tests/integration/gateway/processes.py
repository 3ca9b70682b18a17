"""A real gateway process, on a real Valkey and S3 server."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2

from fornada.local.ports import free_port
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from gateway.auth.api_keys import ApiKeys
from gateway.auth.scopes import Scope


class GatewayProcess:
    """`fornada gateway`, which may be killed and started again at the same port."""

    def __init__(self, environ: Mapping[str, str], *, log_path: Path) -> None:
        self._environ = environ
        self._log_path = log_path
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return once it answers."""
        command = [sys.executable, "-P", "-m", "fornada", "gateway", "--port", str(self._port)]
        with self._log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self._environ, stdout=log, stderr=log, cwd="/"
            )
        while not self._answers():
            assert self.process.poll() is None, self._log_path.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill it, if it lives."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def peak_bytes(self) -> int:
        """The most memory that it has had."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/healthz").is_success
        except httpx2.TransportError:
            return False


@contextmanager
def gateway_process(environ: Mapping[str, str], *, log_path: Path) -> Iterator[GatewayProcess]:
    """A gateway that runs in the block."""
    gateway = GatewayProcess(environ, log_path=log_path)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


def key_headers(settings: Settings, *scopes: Scope, owner: str = "shop") -> dict[str, str]:
    """The headers of a new key's requests."""
    keys = ApiKeys(objects=S3ObjectStore.from_settings(settings))
    _, token = keys.create(owner, scopes=scopes or list(Scope))
    return {"Authorization": f"Bearer {token}"}
