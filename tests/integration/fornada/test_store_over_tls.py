"""A store over TLS: certificates and host names are verified, and credentials renewed."""

import http.server
import itertools
import json
import logging
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from fornada.errors import (
    StoreAddressError,
    StoreCredentialsError,
    StoreError,
    StoreUnavailableError,
)
from fornada.local.ports import free_port
from fornada.local.s3_server import rclone_binary
from fornada.settings import Settings
from fornada.storage.s3.limits import Limits
from fornada.storage.s3.store import S3ObjectStore

from ...deployment import own_environ

_KEYS = [("AKIAFIRST", "first-secret"), ("AKIASECOND", "second-secret")]


@dataclass(frozen=True)
class _TlsServer:
    """A real S3 server whose certificate is for the name `localhost` alone."""

    port: int
    authority: Path
    other_authority: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_TlsServer]:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    trustme.CA().cert_pem.write_to_path(folder / "other.pem")
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    port = free_port()
    command = [rclone_binary(), "serve", "s3", "--config", "", "--addr", f"127.0.0.1:{port}"]
    command += ["--cert", str(folder / "server.pem"), "--key", str(folder / "server.key")]
    pairs = ",".join(f'"{",".join(pair)}"' for pair in _KEYS)
    (folder / "data").mkdir()
    with subprocess.Popen(
        [*command, "--no-modtime", str(folder / "data")],
        env={**own_environ(), "RCLONE_AUTH_KEY": pairs},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        yield _TlsServer(port, folder / "authority.pem", folder / "other.pem")
        process.kill()


@pytest.fixture
def open_store(
    server: _TlsServer, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> Callable[..., S3ObjectStore]:
    """Opens a store with a new bucket, trusting the right authority."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(server.authority))

    def open_with(**changed: object) -> S3ObjectStore:
        settings = Settings(
            s3_endpoint_url=f"https://localhost:{server.port}",
            s3_access_key_id=_KEYS[0][0],
            s3_secret_access_key=SecretStr(_KEYS[0][1]),
        ).model_copy(update=changed)
        return S3ObjectStore.from_settings(settings, limits=Limits(attempts=1, waits_s=()))

    wait_until(lambda: _creates_bucket(open_with()))
    return open_with


def test_the_fast_client_speaks_tls_and_keeps_connections(
    open_store: Callable[..., S3ObjectStore],
) -> None:
    store = open_store()

    for number in range(3):
        store.put(f"a/{number}", b"%d" % number)
    assert [b"0", b"1", b"2"] == [store.get(f"a/{number}").data for number in range(3)]
    store.delete("a/0")

    assert "_client" not in vars(store)
    assert store._wire is not None
    (idle,) = store._wire._connections._idle.values()
    assert 1 == len(idle)
    store.put("large", bytes(range(256)) * 4000)
    assert bytes(range(256)) * 4000 == store.get("large").data


def test_a_certificate_that_is_not_trusted_or_for_another_host_is_refused(
    server: _TlsServer,
    open_store: Callable[..., S3ObjectStore],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    moto_endpoint: str,
) -> None:
    nowhere, empty = tmp_path / "nowhere.pem", tmp_path / "empty.pem"
    empty.touch()
    for bundle, host, fact in (
        (server.other_authority, "localhost", "is not trusted"),
        (server.authority, "127.0.0.1", "is not trusted"),
        (nowhere, "localhost", str(nowhere)),
        (empty, "localhost", str(empty)),
    ):
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
        stores = [open_store(s3_endpoint_url=f"https://{host}:{server.port}") for _ in range(2)]
        stores[1]._wire = None

        for store in stores:
            for call in (lambda: store.get("k"), lambda: store.put("k", b"1"), store.server_time):  # noqa: B023 - called at once
                with pytest.raises(StoreError) as caught:
                    call()
                assert StoreAddressError is type(caught.value)
                assert [] == [f for f in (fact, "AWS_CA_BUNDLE") if f not in str(caught.value)]
    monkeypatch.setenv("AWS_CA_BUNDLE", str(server.authority))
    with pytest.raises(StoreAddressError, match="does not speak TLS"):
        open_store(s3_endpoint_url=moto_endpoint.replace("http://", "https://")).get("k")
    with pytest.raises(StoreUnavailableError):
        open_store(s3_endpoint_url=f"https://localhost:{free_port()}").get("k")


class _Identities(http.server.ThreadingHTTPServer):
    """Gives credentials as STS does, and as the metadata service of a machine does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _IdentityHandler)
        self.pairs = itertools.cycle(_KEYS)
        self.given: list[str] = []
        self.lasts_s = 60
        self.status = 200

    def next_pair(self) -> tuple[str, str, str]:
        """Access key, secret, and until when they last; soon enough to be renewed each time."""
        access_key, secret = next(self.pairs)
        self.given.append(access_key)
        until = datetime.now(UTC) + timedelta(seconds=self.lasts_s)
        return access_key, secret, until.strftime("%Y-%m-%dT%H:%M:%SZ")


class _IdentityHandler(http.server.BaseHTTPRequestHandler):
    server: _Identities

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.status != 200:
            self._say(
                "<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>"
            )
            return
        access_key, secret, until = self.server.next_pair()
        self._say(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
            f"<AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>"
            f"<SessionToken>token</SessionToken><Expiration>{until}</Expiration></Credentials>"
            "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        )

    def do_PUT(self) -> None:
        self._say("metadata-token")

    def do_GET(self) -> None:
        if self.path.endswith("/security-credentials/"):
            self._say("role")
            return
        access_key, secret, until = self.server.next_pair()
        answer = {"AccessKeyId": access_key, "SecretAccessKey": secret, "Token": "token"}
        self._say(json.dumps({**answer, "Expiration": until, "Code": "Success"}))

    def _say(self, text: str) -> None:
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def identities() -> Iterator[_Identities]:
    with _Identities() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_credentials_of_a_web_identity_are_renewed_while_a_job_runs(
    identities: _Identities,
    open_store: Callable[..., S3ObjectStore],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "token").write_text("a signed token")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{identities.server_port}")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/worker")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    store = open_store(s3_access_key_id=None, s3_secret_access_key=None)

    for number in range(4):
        store.put(f"b/{number}", b"1")

    # Each put was signed with the keys of that moment, and the server took both.
    assert 4 <= len(identities.given)
    assert {pair[0] for pair in _KEYS} == set(identities.given)
    assert "_client" not in vars(store)
    assert store._wire is not None
    request = store._wire._signed("GET", store.bucket, "b/0")
    assert request is not None
    assert f"Credential={identities.given[-1]}/" in request.headers["Authorization"]
    assert "token" == request.headers["X-Amz-Security-Token"]
    assert ["b/0", "b/1", "b/2", "b/3"] == [info.key for info in store.list("b/")]

    # when they can be renewed no more
    identities.status = 400
    with pytest.raises(StoreCredentialsError, match="InvalidIdentityToken"):
        store.put("b/4", b"1")
    tries = len(identities.given)
    for _ in range(20):
        with pytest.raises(StoreCredentialsError):
            store.get("b/0")
    assert tries == len(identities.given)
    assert [] == [record for record in caplog.records if record.name.startswith("botocore")]
    said = " ".join(record.getMessage() + str(record.exc_text) for record in caplog.records)
    assert [] == [secret for _, secret in _KEYS if secret in said]
    assert "Traceback" not in said


def test_credentials_of_the_machine_are_found(
    identities: _Identities,
    open_store: Callable[..., S3ObjectStore],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    address = f"http://127.0.0.1:{identities.server_port}"
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", address)
    store = open_store(s3_access_key_id=None, s3_secret_access_key=None)

    store.put("c", b"1")

    assert b"1" == store.get("c").data
    assert "_client" not in vars(store)
    assert [_KEYS[0][0]] == identities.given[:1]


def _creates_bucket(store: S3ObjectStore) -> bool:
    try:
        store.create_bucket()
    except StoreUnavailableError:
        return False
    return True
