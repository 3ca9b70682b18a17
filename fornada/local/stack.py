"""The embedded stack: Valkey, an S3 server, a gateway and workers, started together."""

import contextlib
import fcntl
import importlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from fornada.errors import LocalDiskError, MissingExtraError, StackError
from fornada.files.private_folder import claim_private
from fornada.local.child import Child
from fornada.local.children import Children
from fornada.local.credentials import Credentials, load_credentials, write_private
from fornada.local.gateway import has_gateway, start_gateway
from fornada.local.ports import HOST, on_free_port
from fornada.local.s3_server import start_s3_server
from fornada.local.valkey import start_valkey
from fornada.settings import PREFIX, Settings

_CREDENTIALS = "credentials.json"
_BUCKET = "fornada"
_REGION = "us-east-1"
_WORKER_GRACE_S = 15.0
_POLL_S = 0.1
# Mostly the import of TensorFlow, on a slow machine.
_WORKERS_TIMEOUT_S = 180.0


class Stack:
    """The embedded stack on one data folder; a context manager.

    Servers listen on loopback only, with random credentials that are kept in the folder. Their
    data is kept for the next start, which uses the same ports if they are free.

    Args:
        data_dir: Holds all data and logs, for one stack at a time; created if it does not exist.
        workers: Worker processes to start and wait for.
        gateway: Whether to start a gateway, if one is installed.
        environ: The workers' environment, with further settings; the stack's own take precedence.

    Raises:
        MissingExtraError: A server or the workers' engine is not installed.
        StackError: A part did not start, or another stack uses the folder.
        ConfigError: `environ` has an invalid setting.
        LocalDiskError: The folder cannot be written.
    """

    def __init__(
        self,
        *,
        data_dir: Path,
        workers: int = 0,
        gateway: bool = False,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.logs_dir = self.data_dir / "logs"
        self._cache_dir = self.data_dir / "cache"
        self._worker_count = workers
        self._with_gateway = gateway and has_gateway()
        self._base_environ = environ
        self._settings: Settings | None = None
        self._variables: dict[str, str] = {}
        self._gateway_url: str | None = None
        self._signs_dir = self._cache_dir / "workers"
        self._children = Children(
            record_path=self.data_dir / "processes.json", signs_dir=self._signs_dir
        )
        self._services: list[Child] = []
        self._exit = contextlib.ExitStack()

    @property
    def environ(self) -> dict[str, str]:
        """The `FORNADA_` variables of this stack's clients, with secrets."""
        return dict(self._variables)

    @property
    def settings(self) -> Settings:
        """The settings of this stack's clients, once it is up."""
        if self._settings is None:
            raise StackError("the embedded stack is not up; enter it first (`with Stack(...)`)")
        return self._settings

    @property
    def gateway_url(self) -> str | None:
        """The gateway's address, once it is up; `None` if there is none."""
        return self._gateway_url

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as starting:
            if self._worker_count:
                _require_engine(self._base_environ.get(f"{PREFIX}ENGINE") or Settings().engine)
            self._make_folders()
            starting.enter_context(_locked(self.data_dir / "lock"))
            starting.enter_context(self._children)
            self._start_servers()
            if self._with_gateway:
                self._start_gateway()
            if self._worker_count:
                self._start_workers()
            self._exit = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def check(self) -> None:
        """Check that all parts live.

        Raises:
            StackError: A part has ended; with the end of its log.
        """
        for service in self._services:
            service.wait(lambda: True, timeout_s=0)

    def run_command(self, *arguments: str, output_path: Path, share_stderr: bool = True) -> int:
        """Run `fornada ARGUMENTS` on this stack until it ends; return its exit code.

        Its stdout goes to `output_path`; its stderr goes to ours, or else there too.

        Raises:
            StackError: A part of the stack ended meanwhile.
        """
        command = self._children.spawn(
            lambda: Child(
                name=f"`fornada {arguments[0]}`",
                argv=_fornada(*arguments),
                environ=self._child_environ(),
                output_path=output_path,
                share_stderr=share_stderr,
            )
        )
        while (code := command.exit_code()) is None:
            self.check()
            time.sleep(_POLL_S)
        self._children.stop(command)
        return code

    def _make_folders(self) -> None:
        # The folder holds secrets and users' images.
        claim_private(self.data_dir, mark=_CREDENTIALS, setting="--data")
        try:
            self.logs_dir.mkdir(exist_ok=True)
        except OSError as exc:
            raise LocalDiskError(
                f"{self.data_dir} cannot be used: {exc}; choose another folder with --data"
            ) from exc

    def _start_servers(self) -> None:
        path = self.data_dir / _CREDENTIALS
        kept = load_credentials(path)
        write_private(path, kept.to_json())

        def start_redis(port: int) -> tuple[int, str]:
            valkey, url = start_valkey(
                port=port,
                password=kept.redis_password,
                data_dir=self.data_dir / "valkey",
                log_path=self.logs_dir / "valkey.log",
                children=self._children,
            )
            self._services.append(valkey)
            return port, url

        redis_port, redis_url = on_free_port(start_redis, preferred=kept.redis_port)

        def start_s3(port: int) -> tuple[int, Settings]:
            self._variables = self._variables_for(kept, redis_url=redis_url, s3_port=port)
            settings = Settings.from_env(self._worker_environ())
            server = start_s3_server(
                port=port,
                settings=settings,
                data_dir=self.data_dir / "s3",
                log_path=self.logs_dir / "s3.log",
                children=self._children,
            )
            self._services.append(server)
            return port, settings

        s3_port, self._settings = on_free_port(start_s3, preferred=kept.s3_port)
        used = kept.model_copy(update={"redis_port": redis_port, "s3_port": s3_port})
        write_private(path, used.to_json())

    def _start_gateway(self) -> None:
        path = self.data_dir / _CREDENTIALS
        kept = load_credentials(path)
        self._variables[f"{PREFIX}API_KEY"] = kept.api_key or ""

        def start(port: int) -> tuple[int, Child]:
            return port, start_gateway(
                port=port,
                argv=_fornada("gateway"),
                environ=self._gateway_environ(),
                log_path=self.logs_dir / "gateway.log",
                children=self._children,
            )

        port, gateway = on_free_port(start, preferred=kept.gateway_port)
        self._services.append(gateway)
        self._gateway_url = f"http://{HOST}:{port}"
        write_private(path, kept.model_copy(update={"gateway_port": port}).to_json())

    def _start_workers(self) -> None:
        # Left by workers of an earlier start, which are gone.
        for sign in self._signs_dir.glob("*.json"):
            sign.unlink(missing_ok=True)
        workers = self._children.spawn(
            lambda: Child(
                name="`fornada worker`",
                argv=_fornada("worker", "--processes", str(self._worker_count)),
                environ=self._worker_environ(),
                output_path=self.logs_dir / "workers.log",
                grace_s=_WORKER_GRACE_S,
            )
        )
        workers.wait(
            lambda: len(list(self._signs_dir.glob("*.json"))) >= self._worker_count,
            timeout_s=_WORKERS_TIMEOUT_S,
        )
        self._services.append(workers)

    def _variables_for(self, kept: Credentials, *, redis_url: str, s3_port: int) -> dict[str, str]:
        values = {
            "redis_url": redis_url,
            "s3_endpoint_url": f"http://{HOST}:{s3_port}",
            "s3_bucket": _BUCKET,
            "s3_region": _REGION,
            "s3_access_key_id": kept.s3_access_key_id,
            "s3_secret_access_key": kept.s3_secret_access_key,
            "deployment_keys": kept.deployment_keys or "",
        }
        return {PREFIX + name.upper(): value for name, value in values.items()}

    def _child_environ(self) -> dict[str, str]:
        # Where the user's own secrets are in files, ours would be set twice.
        others = {
            name: value
            for name, value in self._base_environ.items()
            if name.removesuffix("_FILE") not in self._variables
        }
        return {**others, **self._variables}

    def _gateway_environ(self) -> dict[str, str]:
        given = self._child_environ()
        if given.get(f"{PREFIX}METRICS_PORT"):
            # The port is the workers'. The gateway serves its own at /metrics, too.
            given[f"{PREFIX}METRICS_PORT"] = "0"
        return given

    def _worker_environ(self) -> dict[str, str]:
        # Only for the stack's workers: whatever shows life in this folder counts as one.
        return {**self._child_environ(), f"{PREFIX}CACHE_DIR": str(self._cache_dir)}


def _require_engine(name: str) -> None:
    # Before the servers start. By name: this layer knows no engines.
    catalog = importlib.import_module("model_store.engines.catalog")
    try:
        catalog.require_engine(name)
    except MissingExtraError as exc:
        raise MissingExtraError(f"{exc}, or start the servers alone with --workers 0") from exc


def _fornada(*arguments: str) -> list[str]:
    # -P: a folder `worker` in the current directory must not shadow ours.
    return [sys.executable, "-P", "-m", "fornada", *arguments]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock the folder; the lock ends with the process, however that ends."""
    try:
        opened = path.open("a")
    except OSError as exc:
        raise LocalDiskError(
            f"{path} cannot be written: {exc}; choose another folder with --data"
        ) from exc
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise StackError(
                f"{path.parent} is in use by another embedded stack; stop that one, or choose "
                "another folder with --data"
            ) from exc
        yield
