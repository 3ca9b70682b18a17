"""Real servers for the tests: each pytest process starts its own, with its own credentials."""

import contextlib
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from fornada.local.stack import Stack
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.memory import InMemoryObjectStore
from fornada.storage.s3.store import S3ObjectStore

from .boto_files import read_once
from .deployment import environ_of, own_environ, unused_database, with_new_bucket
from .scheduling import ByDeployment, longest_first


def pytest_configure() -> None:
    """Look for circular garbage rarely: else it takes a sixth of the tests' CPU."""
    gc.set_threshold(20_000, 20, 20)


def pytest_collection_finish() -> None:
    """Leave what is there by now out of collections, which loads of models ask for."""
    gc.collect()
    gc.freeze()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByDeployment:
    """Distribute tests by the deployment that they share."""
    return ByDeployment(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the work, they begin with the longest."""
    if hasattr(config, "workerinput"):
        longest_first(items)


@pytest.fixture(autouse=True)
def _clean_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own deployment away from the tests."""
    for name in os.environ.keys() - own_environ().keys():
        monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def _signals_reach_commands() -> None:
    """Undo the ignored signals that nohup or `&` would pass on to every command of a test."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _boto_reads_its_files_once() -> Iterator[None]:
    """Else each store of a test costs 250 ms of CPU for the same files."""
    with read_once():
        yield


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A Valkey and an S3 server (rclone) for this process; no workers."""
    with Stack(data_dir=tmp_path_factory.mktemp("servers"), environ=own_environ()) as stack:
        yield stack


@pytest.fixture
def redis_url(servers: Stack) -> str:
    """The URL of a Redis database that holds nothing."""
    url = servers.settings.redis_url.get_secret_value()
    # The random password in the URL proves that the server is ours to empty.
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def as_user(servers: Stack) -> Callable[[str], SecretStr]:
    """`as_user(rules)`: a Redis user with these rules of `ACL SETUSER`; the URL of its database."""
    url = servers.settings.redis_url.get_secret_value()
    where = url.rpartition("@")[2].rpartition("/")[0]

    def make(rules: str) -> SecretStr:
        with redis.Redis.from_url(url) as client:
            client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">pw", *rules.split())
        database = unused_database(servers.settings).get_secret_value().rpartition("/")[2]
        return SecretStr(f"redis://app:pw@{where}/{database}")

    return make


@pytest.fixture
def settings(servers: Stack, redis_url: str, tmp_path: Path) -> Settings:
    """Settings for an empty Valkey, a new bucket on rclone, and a new cache folder."""
    return with_new_bucket(
        servers.settings, redis_url=SecretStr(redis_url), cache_dir=tmp_path / "cache"
    )


@pytest.fixture
def environ(settings: Settings) -> dict[str, str]:
    """The environment of a command that runs with `settings`."""
    return environ_of(settings)


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """An S3 server that honours `If-None-Match: *`, and checks no credentials."""
    # A second that few tests need.
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication  # noqa: PLC0415
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    serve, lock = DomainDispatcherApplication.__call__, threading.Lock()

    def one_condition_at_a_time(self: Any, request: Any, start_response: Any) -> Any:
        # moto looks whether a key is free, and then writes: two that come at once may both win.
        with lock if "HTTP_IF_NONE_MATCH" in request else contextlib.nullcontext():
            return serve(self, request, start_response)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DomainDispatcherApplication, "__call__", one_condition_at_a_time)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture
def moto_settings(moto_endpoint: str) -> Settings:
    """Settings for a new bucket on moto."""
    return with_new_bucket(
        Settings(
            s3_endpoint_url=moto_endpoint,
            s3_access_key_id="anybody",
            s3_secret_access_key=SecretStr("anything"),
        )
    )


@pytest.fixture
def memory_objects() -> InMemoryObjectStore:
    """An empty store in memory, with conditional writes."""
    return InMemoryObjectStore()


@pytest.fixture
def rclone_objects(settings: Settings) -> S3ObjectStore:
    """An empty bucket on rclone, which ignores conditions."""
    return S3ObjectStore.from_settings(settings)


@pytest.fixture
def moto_objects(moto_settings: Settings) -> S3ObjectStore:
    """An empty bucket on moto, which honours conditions."""
    return S3ObjectStore.from_settings(moto_settings)


@pytest.fixture(params=["memory", "rclone", "moto"])
def object_store(request: pytest.FixtureRequest) -> ObjectStore:
    """Each kind of store in turn: one in memory, one without and one with conditional writes."""
    store: ObjectStore = request.getfixturevalue(f"{request.param}_objects")
    return store


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """`wait_until(predicate, timeout_s=60)`: return once it is true, fail if it stays false."""
    return _wait_until


def _wait_until(predicate: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > deadline:
            pytest.fail(f"not true within {timeout_s:g} s: {predicate}")
        time.sleep(0.02)
