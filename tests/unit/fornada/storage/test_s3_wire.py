"""The short way to a store: when it is taken, and what is left to boto3."""

import pytest
from pydantic import SecretStr

from fornada.settings import Settings
from fornada.storage.s3.limits import Limits
from fornada.storage.s3.wire import FastHttpClient, is_loopback, wire_to


def _settings(endpoint: str | None, *, with_keys: bool = True) -> Settings:
    return Settings(
        s3_endpoint_url=endpoint,
        s3_access_key_id="id" if with_keys else None,
        s3_secret_access_key=SecretStr("secret") if with_keys else None,
    )


def _wire(endpoint: str | None, *, with_keys: bool = True) -> FastHttpClient | None:
    return wire_to(_settings(endpoint, with_keys=with_keys), Limits(), user_agent="test")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_it_is_taken_over_http_with_keys_of_our_own_and_no_path() -> None:
    for endpoint in ("http://127.0.0.1:9000", "http://minio:9000/"):
        assert _wire(endpoint) is not None
    for elsewhere in (None, "https://minio:9000", "http://gateway/s3"):
        assert _wire(elsewhere) is None
    assert _wire("http://minio:9000", with_keys=False) is None


def test_it_is_not_taken_where_a_proxy_stands_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")

    assert _wire("http://minio:9000") is None
    # A proxy cannot reach this machine's loopback.
    assert _wire("http://127.0.0.1:9000") is not None


@pytest.fixture
def wire() -> FastHttpClient:
    """To a store that is away."""
    found = _wire("http://127.0.0.1:1")
    assert found is not None
    return found


def test_a_key_that_may_be_written_otherwise_on_the_way_is_left_to_boto3(
    wire: FastHttpClient,
) -> None:
    wrong = ["a b", "a//b", "../secret", "a/../b", "a/./b", "/a", "a/", "ü", "a%2Fb", "a?b", "a#b"]
    for key in (*wrong, ""):
        assert wire._signed("GET", "bucket", key) is None


def test_a_large_object_and_a_store_that_is_away_are_left_to_boto3(wire: FastHttpClient) -> None:
    assert wire.get("bucket", "key", max_bytes=None) is None
    assert wire.put("bucket", "key", b"1", only_if_absent=True) is None
    assert wire.put("bucket", "key", bytes(1024 * 1024 + 1), only_if_absent=False) is None


def test_a_body_is_not_hashed_and_the_condition_is_signed(wire: FastHttpClient) -> None:
    request = wire._signed("PUT", "bucket", "key", data=b"1", headers={"If-None-Match": "*"})

    assert request is not None
    assert "UNSIGNED-PAYLOAD" == request.headers["X-Amz-Content-SHA256"]
    assert "SignedHeaders=host;if-none-match;" in request.headers["Authorization"]


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
