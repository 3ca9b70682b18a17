"""One FORNADA_REDIS_URL, and the same connections for redis-py and for Celery's kombu."""

import queue
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from fornada.coordination.notices.interface import Notice
from fornada.coordination.redis import RedisCoordination
from fornada.errors import BrokerError, ConfigError
from fornada.queue.celery_queue import CelerySender
from fornada.queue.message import ShardMessage
from fornada.redis_server.address import redis_address
from fornada.redis_server.refusals import RIGHTS
from fornada.settings import Settings

from ...redis_proxy import RedisProxy
from .conftest import StartServer

#: For "x/?#@ %", as a URL has it.
QUOTED = "x%2F%3F%23%40%20%25"


def ask_both(url: str, **changed: str) -> None:
    """Use the server by redis-py and by kombu."""
    settings = Settings(redis_url=SecretStr(url), **changed)
    coordination = RedisCoordination.from_settings(settings)
    assert coordination.missing_rights() == []
    heard: queue.Queue[Notice] = queue.Queue()
    stop = coordination.listen("job", heard.put)
    assert heard.get(timeout=30) is Notice.LISTENING
    stop()
    sender = CelerySender.from_settings(settings)
    sender.enqueue([ShardMessage(job_id="job", shard=0)])
    assert sender.reserved() == set()


def refusals(url: str, **changed: str) -> list[str]:
    """What redis-py and kombu say, each for itself."""
    settings = Settings(redis_url=SecretStr(url), **changed)
    said = []
    for ask in (
        RedisCoordination.from_settings(settings).server_time,
        CelerySender.from_settings(settings).reserved,
    ):
        with pytest.raises(BrokerError) as raised:
            ask()
        said.append(str(raised.value))
    return said


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def over_tls(redis_url: str, authority: trustme.CA) -> Iterator[str]:
    """The URL of Valkey behind TLS, with a certificate for `localhost` alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with RedisProxy(redis_url, tls=context) as proxy:
        yield proxy.url


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> Path:
    """The authority's certificate, in a file."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.mark.slow
def test_both_clients_trust_the_stated_authority_alone(
    over_tls: str, trusted: Path, tmp_path: Path
) -> None:
    another = tmp_path / "another.pem"
    trustme.CA().cert_pem.write_to_path(another)
    elsewhere = over_tls.replace("localhost", "127.0.0.1")

    ask_both(f"{over_tls}?ssl_ca_certs={trusted}")

    for url in (
        over_tls,
        f"{over_tls}?ssl_ca_certs={another}",
        f"{elsewhere}?ssl_ca_certs={trusted}",
    ):
        for said in refusals(url):
            assert "CERTIFICATE_VERIFY_FAILED" in said
            assert "give its authority's certificate with ?ssl_ca_certs=" in said


def test_a_certificate_is_believed_unseen_only_where_the_url_says_so_and_that_is_told(
    over_tls: str, caplog: pytest.LogCaptureFixture
) -> None:
    ask_both(f"{over_tls}?ssl_cert_reqs=none")

    assert "Redis's certificate is not verified" in caplog.text


def test_a_socket_a_user_and_options_are_the_same_for_both(
    start_server: StartServer, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    path = tmp_path / "valkey.sock"
    start_server(0, f"unixsocket {path}", 'user app on ">x/?#@ %" ~* &* +@all', "user default off")
    wait_until(path.exists)

    ask_both(f"unix://app:{QUOTED}@{path}?db=3&protocol=3&client_name=x&health_check_interval=5")

    for said in refusals(f"unix://app:wrong@{path}"):
        assert "check user and password in FORNADA_REDIS_URL" in said


def test_the_provider_of_the_documentation_gives_each_connection_the_token_of_its_time(
    as_user: Callable[[str], SecretStr], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[3] / "docs/operations/brokers.md"
    code = page.read_text().partition("```python\n")[2].partition("```")[0]
    token = tmp_path / "token"
    code = code.replace("/var/run/secrets/redis-token", str(token)).replace("fornada", "app")
    (tmp_path / "shop_redis.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    url = as_user(RIGHTS).get_secret_value().replace("app:pw@", "")
    credentials = "shop_redis:TokenFile"

    token.write_text("pw")
    ask_both(url, redis_credentials=credentials)

    token.write_text("expired")
    for said in refusals(url, redis_credentials=credentials):
        assert "check user and password" in said


def test_what_yields_no_credentials_is_named() -> None:
    for credentials, fact in (
        ("no_module_of_this_name:f", "ModuleNotFoundError"),
        ("pathlib:nothing", "AttributeError"),
        ("builtins:dict", "returns dict"),
    ):
        with pytest.raises(ConfigError, match=f"FORNADA_REDIS_CREDENTIALS is .*{fact}"):
            redis_address(Settings(redis_credentials=credentials))
    with pytest.raises(ConfigError, match="leave one out"):
        redis_address(
            Settings(redis_url=SecretStr("redis://:pw@h"), redis_credentials="builtins:dict")
        )


def test_a_provider_of_credentials_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counted_redis.py").write_text(
        "from redis import UsernamePasswordCredentialProvider\n"
        "made = []\n"
        "def provider():\n"
        "    made.append(UsernamePasswordCredentialProvider('app', 'pw'))\n"
        "    return made[-1]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    RedisCoordination.from_settings(Settings(redis_credentials="counted_redis:provider"))

    assert 1 == len(sys.modules["counted_redis"].made)


def test_redis_cluster_is_refused_with_the_reason(start_server: StartServer, port: int) -> None:
    start_server(port, "cluster-enabled yes")
    settings = Settings(redis_url=SecretStr(f"redis://127.0.0.1:{port}"))

    with pytest.raises(ConfigError, match=r"Redis Cluster, which is not supported.*sentinel://"):
        RedisCoordination.from_settings(settings).refuse_cluster()

    with pytest.raises(BrokerError, match="Redis Cluster, which is not supported"):
        CelerySender.from_settings(settings).enqueue([ShardMessage(job_id="job", shard=0)])
