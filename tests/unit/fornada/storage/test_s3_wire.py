"""The short way to a store: when it is taken, and what is left to boto3."""

from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from pydantic import SecretStr

from fornada.settings import Settings
from fornada.storage.s3.address import is_loopback
from fornada.storage.s3.client import Boto
from fornada.storage.s3.fast.google import put_if_absent
from fornada.storage.s3.fast.signing import Request, Signer
from fornada.storage.s3.fast.wire import FastHttpClient
from fornada.storage.s3.limits import Limits
from fornada.storage.s3.store import S3ObjectStore


def _wire(endpoint: str | None, **changed: str) -> FastHttpClient:
    settings = Settings(
        s3_endpoint_url=endpoint,
        s3_access_key_id="id",
        s3_secret_access_key=SecretStr("secret"),
    ).model_copy(update=changed)
    return Boto(settings, Limits()).wire()


def _goes_to(wire: FastHttpClient, bucket: str = "bucket") -> str | None:
    request = wire._signed("GET", bucket, "a/key")
    return None if request is None else request.url


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_it_asks_where_boto3_would() -> None:
    for endpoint in ("http://127.0.0.1:9000", "https://minio:9000/", "https://gateway/s3"):
        assert f"{endpoint.rstrip('/')}/bucket/a/key" == _goes_to(_wire(endpoint))
    amazon = _wire(None, s3_region="eu-west-1")
    assert "https://bucket.s3.eu-west-1.amazonaws.com/a/key" == _goes_to(amazon)
    # Certificates of Amazon's do not cover such hosts.
    assert "https://s3.eu-west-1.amazonaws.com/my.bucket/a/key" == _goes_to(amazon, "my.bucket")
    # These take sessions of their own, or are no names.
    for bucket in ("bucket--use1-az5--x-s3", "arn:aws:s3:eu-west-1:123456789012:accesspoint/a"):
        assert _goes_to(amazon, bucket) is None


def test_it_is_not_taken_where_a_proxy_stands_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")

    assert _goes_to(_wire("http://minio:9000")) is None
    # A proxy cannot reach this machine's loopback.
    assert _goes_to(_wire("http://127.0.0.1:9000")) is not None


@pytest.fixture
def wire() -> FastHttpClient:
    """To a store that is away."""
    return _wire("http://127.0.0.1:1")


def test_a_key_that_may_be_written_otherwise_on_the_way_is_left_to_boto3(
    wire: FastHttpClient,
) -> None:
    wrong = ["a b", "a//b", "../secret", "a/../b", "a/./b", "/a", "a/", "ü", "a%2Fb", "a?b", "a#b"]
    for key in (*wrong, ""):
        assert wire._signed("GET", "bucket", key) is None


def test_a_large_object_and_a_store_that_is_away_are_left_to_boto3(wire: FastHttpClient) -> None:
    assert wire.get("bucket", "key", max_bytes=None) is None
    assert wire.put("bucket", "key", b"1", only_if_absent=True, with_checksum=False) is None
    large = bytes(1024 * 1024 + 1)
    assert wire.put("bucket", "key", large, only_if_absent=False, with_checksum=False) is None


def test_a_body_is_not_hashed_and_the_condition_is_signed(wire: FastHttpClient) -> None:
    request = wire._signed("PUT", "bucket", "key", data=b"1", headers={"If-None-Match": "*"})

    assert request is not None
    assert "UNSIGNED-PAYLOAD" == request.headers["X-Amz-Content-SHA256"]
    assert "SignedHeaders=host;if-none-match;" in request.headers["Authorization"]


def test_a_signature_is_that_of_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 11, 29, 8, 0, tzinfo=UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: now)
    signer = Signer("eu-west-1")
    for address, headers, token in [
        ("http://127.0.0.1:9000/bucket/a/key", {}, None),
        ("http://127.0.0.1:9000/bucket?encoding-type=url&list-type=2&prefix=a%2Fb~", {}, None),
        ("https://bucket.s3.eu-west-1.amazonaws.com/?list-type=2", {}, None),
        ("https://Minio:443/bucket/key", {"Range": "bytes=0-9"}, "token"),
        ("http://minio:80/bucket/key", {"If-None-Match": "*", "Content-MD5": "a=="}, None),
        ("https://bucket.s3.eu-west-1.amazonaws.com/a.b/c-d_e", {}, "two  spaces"),
    ]:
        keys = Credentials("id", "secret", token)
        theirs = AWSRequest(method="PUT", url=address, headers=headers)
        theirs.context["client_config"] = Config(s3={"payload_signing_enabled": False})
        S3SigV4Auth(keys, "s3", "eu-west-1").add_auth(theirs)

        url, _, query = address.partition("?")
        asked = Request(method="PUT", url=url, query=query, headers=headers, data=b"1")
        ours = signer.signed(asked, keys, now=now)

        assert dict(theirs.headers) == ours.headers
        assert b"1" == ours.data


def test_loopback_is_this_machine() -> None:
    own = [
        "http://127.0.0.1:9000",
        "http://127.8.8.8",
        "http://[::1]:9000",
        "http://localhost:9000",
    ]

    assert own == [
        url for url in (*own, "http://10.0.0.1", "http://minio:9000", "") if is_loopback(url)
    ]


def test_google_is_given_its_own_condition_without_a_header_of_amazons() -> None:
    key = Credentials("GOOG1EXAMPLE", "secret")
    now = datetime(2026, 11, 29, 8, 0, tzinfo=UTC)

    request = put_if_absent("https://storage.googleapis.com/b/a/k", b"1", key, now=now)

    headers = dict(request.headers)
    signature = headers.pop("Authorization").rpartition("Signature=")
    assert {
        "x-goog-content-sha256": "UNSIGNED-PAYLOAD",
        "x-goog-date": "20261129T080000Z",
        "x-goog-if-generation-match": "0",
    } == headers
    assert (
        "GOOG4-HMAC-SHA256 Credential=GOOG1EXAMPLE/20261129/auto/storage/goog4_request, "
        "SignedHeaders=host;x-goog-content-sha256;x-goog-date;x-goog-if-generation-match, "
        "Signature="
    ) == signature[0] + signature[1]
    assert 64 == len(signature[2])
    other = put_if_absent("https://storage.googleapis.com/b/a/l", b"1", key, now=now)
    assert other.headers["Authorization"] != request.headers["Authorization"]


def test_only_google_is_google() -> None:
    googles = ["https://storage.googleapis.com", "https://storage.us-east1.rep.googleapis.com"]

    others = ["https://storage.googleapis.com.example.org", "https://s3.amazonaws.com"]

    assert googles == [
        url for url in (*googles, *others) if _wire(url).alone_sends_conditions("bucket")
    ]


def test_google_decides_only_where_its_condition_can_be_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    google = Settings(
        s3_endpoint_url="https://storage.googleapis.com",
        s3_access_key_id="id",
        s3_secret_access_key=SecretStr("secret"),
    )
    assert S3ObjectStore.from_settings(google)._puts.reach_with_conditions

    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    assert not S3ObjectStore.from_settings(google)._puts.reach_with_conditions
