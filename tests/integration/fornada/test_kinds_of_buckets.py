"""Buckets with Object Lock or versions, listings of any length, and stores that race."""

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from fornada import keys
from fornada.errors import ObjectNotFoundError, StoreAddressError, StoreUnavailableError
from fornada.records import now
from fornada.settings import Settings
from fornada.storage.s3 import conditions
from fornada.storage.s3.limits import Limits
from fornada.storage.s3.store import S3ObjectStore

_Answer = Callable[[BaseHTTPRequestHandler, bytes], tuple[int, bytes]]


@pytest.fixture
def locked_settings(moto_settings: Settings) -> Settings:
    """A bucket whose objects are retained for a day, and which takes no put without a checksum."""
    settings = moto_settings.model_copy(update={"s3_bucket": f"{moto_settings.s3_bucket}-locked"})
    client = S3ObjectStore.from_settings(settings)._client
    client.create_bucket(Bucket=settings.s3_bucket, ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    lock = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    client.put_object_lock_configuration(Bucket=settings.s3_bucket, ObjectLockConfiguration=lock)
    return settings


def test_a_bucket_with_object_lock_is_given_checksums(
    locked_settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(100_000))
    for boto3_alone in (False, True):
        store = S3ObjectStore.from_settings(locked_settings)
        if boto3_alone:
            store._wire = None

        store.put(f"{boto3_alone}/k", b"1")
        store.put(f"{boto3_alone}/file", file)

        assert store.put_if_absent(f"{boto3_alone}/claim", b"mine")
        assert not store.put_if_absent(f"{boto3_alone}/claim", b"theirs")
        assert file.read_bytes() == store.get(f"{boto3_alone}/file").data
    # Learnt once, the fast client has the checksum with it from then on.
    store = S3ObjectStore.from_settings(locked_settings)
    for number in range(3):
        store.put(f"again/{number}", b"1")
    assert "_client" not in vars(store)


def test_a_versioned_bucket_is_like_any_other(moto_objects: S3ObjectStore) -> None:
    versioning = {"Status": "Enabled"}
    moto_objects._client.put_bucket_versioning(
        Bucket=moto_objects.bucket, VersioningConfiguration=versioning
    )

    for data in (b"1", b"2"):
        moto_objects.put("k", data)
    assert moto_objects.conditional_writes
    assert [True, False] == [moto_objects.put_if_absent("claim", data) for data in (b"1", b"2")]
    moto_objects.delete("k")
    moto_objects.delete("claim")

    with pytest.raises(ObjectNotFoundError):
        moto_objects.get("k")
    assert [] == list(moto_objects.list("k"))
    # What was deleted is free again.
    assert moto_objects.put_if_absent("claim", b"3")
    assert b"3" == moto_objects.get("claim").data


class _Scripted(ThreadingHTTPServer):
    """Answers as the test says; a stand-in for servers that nobody can install."""

    daemon_threads = True
    # 32 writers connect at once; beyond the queue, each waits a second for its next try.
    request_queue_size = 128

    def __init__(
        self, answer: Callable[[BaseHTTPRequestHandler, bytes], tuple[int, bytes]]
    ) -> None:
        super().__init__(("127.0.0.1", 0), _ScriptedHandler)
        self.answer = answer
        self.requests: list[str] = []

    def open_store(self) -> S3ObjectStore:
        """A new client."""
        settings = Settings(
            s3_endpoint_url=f"http://127.0.0.1:{self.server_port}",
            s3_access_key_id="a",
            s3_secret_access_key=SecretStr("b"),
        )
        limits = Limits(attempts=1, waits_s=(0.0, 0.0))
        return S3ObjectStore.from_settings(settings, limits=limits)


class _ScriptedHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Scripted

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(f"{self.command} {self.path}")
        status, answer = self.server.answer(self, body)
        self.send_response(status)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_DELETE = _handle  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


ServeBy = Callable[..., _Scripted]


@pytest.fixture
def serve_by() -> Iterator[ServeBy]:
    """Starts a server that answers by a function."""
    servers: list[tuple[_Scripted, threading.Thread]] = []

    def serve(answer: _Answer) -> _Scripted:
        server = _Scripted(answer)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return server

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def _page(names: list[str], token: str | None) -> bytes:
    entries = "".join(
        f"<Contents><Key>{name}</Key><Size>1</Size>"
        "<LastModified>2026-11-29T08:00:00.000Z</LastModified></Contents>"
        for name in names
    )
    following = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    truncated = "true" if token else "false"
    return (
        f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{following}{entries}"
        "</ListBucketResult>"
    ).encode()


def test_a_listing_without_end_is_read_a_page_at_a_time(serve_by: ServeBy) -> None:
    numbers = itertools.count()

    def answer(*_: object) -> tuple[int, bytes]:
        page = next(numbers)
        names = [f"k/{page:06d}/{number:04d}" for number in range(1000)]
        return 200, _page(names, f"token-{page}")

    server = serve_by(answer)

    listed = server.open_store().list("k/")

    assert 1 == len(server.requests)
    first = [info.key for info in itertools.islice(listed, 2500)]
    assert "k/000002/0499" == first[-1]
    assert 3 == len(server.requests)
    assert ["continuation-token=token-1" in path for path in server.requests] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("pages", "fact"),
    [
        ([(["b"], "t"), (["a"], None)], "in no order"),
        ([(["a", "b"], "t"), (["a", "b"], None)], "in no order"),
        ([(["a"], "t"), (["a"], "u"), (["a"], None)], "over and over"),
        ([(["a"], "t"), (["b"], "t"), (["c"], "t")], "does not continue"),
    ],
)
def test_a_store_that_lists_otherwise_than_s3_is_refused(
    pages: list[tuple[list[str], str | None]], fact: str, serve_by: ServeBy
) -> None:
    left = iter(pages)
    server = serve_by(lambda *_: (200, _page(*next(left))))

    with pytest.raises(StoreAddressError, match=fact):
        list(server.open_store().list(""))


def test_an_object_that_is_listed_twice_or_out_of_place_while_it_is_replaced_is_one(
    serve_by: ServeBy,
) -> None:
    left = iter([(["b", "a", "a"], "t"), (["b", "c"], None)])
    server = serve_by(lambda *_: (200, _page(*next(left))))

    assert ["a", "b", "c"] == [info.key for info in server.open_store().list("")]


class _Racing:
    """A store that checks the condition and then writes: right one by one, and wrong at once."""

    def __init__(self, *, atomic: bool, conflicts: int = 0) -> None:
        self.objects: dict[str, bytes] = {}
        self.conflicts = conflicts
        self._atomic = atomic
        self._lock = threading.Lock()
        self._together = threading.Barrier(conditions.WRITERS)

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        key, method = request.path, request.command
        if method == "DELETE":
            self.objects.pop(key, None)
            return 204, b""
        if method == "GET":
            found = self.objects.get(key)
            return (404, _error("NoSuchKey")) if found is None else (200, found)
        with self._lock:
            if request.headers["If-None-Match"]:
                if self.conflicts:
                    self.conflicts -= 1
                    return 409, _error("ConditionalRequestConflict")
                if key in self.objects:
                    return 412, _error("PreconditionFailed")
            if self._atomic:
                self.objects[key] = body
        if body.isdigit() and not self._atomic:
            self._together.wait(timeout=60)
        self.objects[key] = body
        return 200, b""


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code></Error>".encode()


def test_a_store_that_checks_before_it_writes_is_found_out_by_a_race(serve_by: ServeBy) -> None:
    server = serve_by(_Racing(atomic=False).answer)
    store = server.open_store()

    assert not store.conditional_writes

    # Another process knows without a race of its own.
    server.requests.clear()
    assert not server.open_store().conditional_writes
    assert [f"GET /fornada/{keys.conditions(store.endpoint)}"] == server.requests
    found = conditions.kept(store)
    assert found is not None
    assert conditions.WRITERS == found.winners


def test_of_writers_that_race_one_wins_and_a_conflict_is_tried_again(serve_by: ServeBy) -> None:
    racing = _Racing(atomic=True, conflicts=2)
    store = serve_by(racing.answer).open_store()

    found = store.probe()

    assert (True, 1) == (found.honoured, found.winners)
    racing.conflicts = 2
    assert store.put_if_absent("claim", b"mine")
    assert not store.put_if_absent("claim", b"theirs")
    racing.conflicts = 9
    with pytest.raises(StoreUnavailableError, match="ConditionalRequestConflict"):
        store.put_if_absent("other", b"mine")


def test_what_was_found_long_ago_or_elsewhere_is_not_believed(moto_objects: S3ObjectStore) -> None:
    found = moto_objects.probe()
    assert found == conditions.kept(moto_objects)
    for changed in ({"probed_at": now() - timedelta(days=8)}, {"endpoint": "http://elsewhere"}):
        conditions.keep(moto_objects, found.model_copy(update=changed))
        assert conditions.kept(moto_objects) is None
    moto_objects.put(keys.conditions(moto_objects.endpoint), b"{}")
    assert moto_objects.conditional_writes
