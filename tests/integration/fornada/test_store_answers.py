"""Every error that a store answers with becomes a typed error, on the fast path and on boto3."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from fornada.errors import (
    BucketNotFoundError,
    ObjectNotFoundError,
    StoreAddressError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
)
from fornada.settings import Settings
from fornada.storage.s3.limits import Limits
from fornada.storage.s3.refusals.answers import MEANINGS
from fornada.storage.s3.store import S3ObjectStore

_XML = "<Error><Code>{}</Code><Message>so it is</Message><Region>eu-west-3</Region></Error>"


class _Answering(ThreadingHTTPServer):
    status, content_type, body = 200, "application/xml", b""

    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        server = self.server
        assert isinstance(server, _Answering)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(server.status)
        self.send_header("Content-Type", server.content_type)
        self.send_header("Content-Length", str(len(server.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(server.body)

    do_GET = do_PUT = do_DELETE = do_HEAD = _answer  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def server() -> Iterator[_Answering]:
    with _Answering(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def stores(server: _Answering) -> list[S3ObjectStore]:
    """One with the fast path, and one on boto3 alone."""
    settings = Settings(
        s3_endpoint_url=server.url(), s3_access_key_id="a", s3_secret_access_key=SecretStr("b")
    )
    found = [
        S3ObjectStore.from_settings(settings, limits=Limits(attempts=1, waits_s=()))
        for _ in range(2)
    ]
    found[1]._wire = None
    return found


def _error_of(store: S3ObjectStore) -> StoreError:
    with pytest.raises(StoreError) as by_put:
        store.put("key", b"1")
    with pytest.raises(StoreError) as by_get:
        store.get("key")
    assert type(by_put.value) is type(by_get.value)
    return by_get.value


def test_each_code_of_the_table_is_its_error_whatever_the_status(
    server: _Answering, stores: list[S3ObjectStore]
) -> None:
    for code, meaning in MEANINGS.items():
        passes = meaning.error is StoreUnavailableError
        server.status, server.body = 503 if passes else 400, _XML.format(code).encode()

        for store in stores:
            error = _error_of(store)

            assert (meaning.error, code) == (type(error), code)
            for fact in (server.url(), code, "so it is", meaning.remedy.split(";")[0][:20]):
                assert fact in str(error) or code == "NoSuchBucket"
            assert ("eu-west-3" in str(error)) == (meaning.error is StoreAddressError)


def test_a_permanent_answer_is_not_one_that_passes(
    server: _Answering, stores: list[S3ObjectStore]
) -> None:
    for status, code, passes in (
        (403, "AccessDenied", False),
        (403, "RequestTimeTooSkewed", False),
        (400, "ExpiredToken", False),
        (403, "QuotaExceeded", False),
        (507, "InsufficientStorage", False),
        (503, "SlowDown", True),
        (429, "TooManyRequests", True),
        (400, "RequestTimeout", True),
        (409, "ConditionalRequestConflict", True),
        (500, "InternalError", True),
    ):
        server.status, server.body = status, _XML.format(code).encode()
        assert [(code, passes)] * 2 == [(code, _error_of(s).may_pass_later) for s in stores]


def test_an_unknown_code_is_permanent_with_4xx_and_passes_with_5xx(
    server: _Answering, stores: list[S3ObjectStore]
) -> None:
    server.body = _XML.format("Unheard").encode()
    for status in (400, 405, 409, 411, 413, 418, 422, 451, 408, 425, 429, 500, 502, 503, 504, 599):
        server.status = status
        passes = status >= 500 or status in {408, 425, 429}

        for store in stores:
            error = _error_of(store)

            assert (passes, not passes) == (
                error.may_pass_later,
                isinstance(error, StoreRefusedError),
            )


def test_a_web_server_is_no_store(server: _Answering, stores: list[S3ObjectStore]) -> None:
    server.content_type, server.body = "text/html", b"<!doctype html><p>Welcome"
    for status in (200, 302, 403, 404, 405):
        server.status = status
        for store in stores:
            error = _error_of(store)
            assert isinstance(error, StoreAddressError)
            with pytest.raises(StoreAddressError, match=r"a web page.*FORNADA_S3_ENDPOINT_URL"):
                store.list("")
    server.body = b""
    for status, said in ((200, "no ETag, text/html"), (302, "a redirect to ")):
        server.status = status
        assert [said in str(_error_of(store)) for store in stores] == [True, True]
    # A proxy that cannot reach the store answers with a page too.
    server.status, server.body = 502, b"<html>Bad gateway"
    assert {StoreUnavailableError} == {type(_error_of(store)) for store in stores}


def test_an_answer_without_a_body_is_told_by_its_status(
    server: _Answering, stores: list[S3ObjectStore]
) -> None:
    server.status = 404
    for store in stores:
        with pytest.raises(ObjectNotFoundError):
            store.get("key")
        for call in (lambda: store.put("key", b"1"), store.server_time, lambda: store.list("")):  # noqa: B023 - called at once
            with pytest.raises(BucketNotFoundError, match="--create-bucket"):
                call()
