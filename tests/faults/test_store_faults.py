"""The object store while its server fails: what is retried, and what becomes our error."""

import threading
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from fornada.errors import IntegrityError, ObjectNotFoundError, StoreUnavailableError
from fornada.jobs.store import JobStore
from fornada.local.stack import Stack
from fornada.records import ObjectRef, sha256_hex
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.s3.limits import Limits
from fornada.storage.s3.store import S3ObjectStore

from .rig.s3_proxy import (
    BreakOff,
    Corrupt,
    DropHeader,
    LoseAnswer,
    NoAnswer,
    Refuse,
    Rule,
    S3Proxy,
    Stall,
    Trickle,
)

_LIMITS = Limits(connect_timeout_s=1.0, read_timeout_s=1.0, waits_s=(0.01, 0.01))
_DATA = bytes(range(256)) * 12_000

OpenStore = Callable[[Limits], S3ObjectStore]

#: For tests of conditional writes.
_both_stores = pytest.mark.parametrize("line", ["rclone", "moto"], indirect=True)


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep boto3 from waiting up to seconds between its tries."""
    backoff = "botocore.retries.standard.ExponentialBackoff.delay_amount"
    monkeypatch.setattr(backoff, lambda *_: 0.01)


@dataclass(frozen=True)
class _Line:
    """A proxy in front of a server, and a client that bypasses it."""

    #: Whether to bypass the fast client, as for HTTPS and AWS.
    boto3_alone: bool
    proxy: S3Proxy
    settings: Settings
    direct: S3ObjectStore


@pytest.fixture(
    scope="module",
    params=[
        "rclone",
        pytest.param("moto", marks=pytest.mark.slow),
        pytest.param("moto, boto3 alone", marks=pytest.mark.slow),
    ],
)
def line(request: pytest.FixtureRequest, servers: Stack) -> Iterator[_Line]:
    """A line to a store that ignores conditions, and to one that honours them."""
    settings = servers.settings
    if request.param != "rclone":
        endpoint = request.getfixturevalue("moto_endpoint")
        settings = settings.model_copy(update={"s3_endpoint_url": endpoint})
    assert settings.s3_endpoint_url is not None
    with S3Proxy(settings.s3_endpoint_url) as proxy:
        through = settings.model_copy(update={"s3_endpoint_url": proxy.url})
        yield _Line(
            boto3_alone=request.param.endswith("alone"),
            proxy=proxy,
            settings=through,
            direct=S3ObjectStore.from_settings(settings),
        )
    assert [] == proxy.errors
    assert [] == [t.name for t in threading.enumerate() if "s3-proxy" in t.name]


@pytest.fixture
def direct(line: _Line) -> S3ObjectStore:
    """A new bucket, past the proxy."""
    direct = S3ObjectStore(
        connect=lambda: line.direct._client,
        wire=None,
        bucket=f"test-{uuid.uuid4().hex[:12]}",
        endpoint=line.direct.endpoint,
        limits=_LIMITS,
        presigner=line.direct._presigner,
    )
    direct.create_bucket()
    return direct


@pytest.fixture
def proxy(line: _Line) -> S3Proxy:
    """The proxy, without rules."""
    line.proxy.heal()
    return line.proxy


@pytest.fixture
def store(open_store: OpenStore) -> S3ObjectStore:
    """The same bucket through the proxy, with short time limits."""
    # A new client: after many failures boto3 stops retrying.
    return open_store(_LIMITS)


@pytest.fixture
def open_store(line: _Line, direct: S3ObjectStore, proxy: S3Proxy) -> OpenStore:
    """Opens the same bucket through the proxy, with given limits."""
    settings = line.settings.model_copy(update={"s3_bucket": direct.bucket})

    def open_with(limits: Limits) -> S3ObjectStore:
        store = S3ObjectStore.from_settings(settings, limits=limits)
        assert store._wire is not None
        if line.boto3_alone:
            store._wire = None
        return store

    return open_with


_truncated = pytest.param(lambda: BreakOff(after_bytes=1_000_000), id="truncated")
_truncated_at_once = pytest.param(lambda: BreakOff(after_bytes=0), id="truncated at once")
_reset = pytest.param(lambda: BreakOff(after_bytes=1_000_000, reset=True), id="reset")
_stalled = pytest.param(lambda: Stall(after_bytes=1_000_000), id="stalled", marks=pytest.mark.slow)


@pytest.mark.parametrize("make", [_truncated, _truncated_at_once, _reset, _stalled])
def test_a_body_that_breaks_off_is_read_again_and_at_last_store_unavailable(
    make: Callable[[], Rule], direct: S3ObjectStore, proxy: S3Proxy, open_store: OpenStore
) -> None:
    direct.put("k", _DATA)
    rule = _add(proxy, make(), method="GET", key="/k", times=2)

    read = open_store(_LIMITS).get("k")

    assert _DATA == read.data
    assert direct.get("k").etag == read.etag
    assert 2 == rule.count

    store = open_store(_LIMITS)
    rule = _add(proxy, make(), method="GET", key="/k")
    with pytest.raises(StoreUnavailableError, match=f"{proxy.url} broke off"):
        store.get("k")
    assert 3 + _own_tries(store) == rule.count


def test_the_beginning_of_an_object_is_never_shorter_than_asked(
    direct: S3ObjectStore, proxy: S3Proxy, store: S3ObjectStore
) -> None:
    direct.put("k", _DATA)
    rule = proxy.add(BreakOff(method="GET", key="/k", after_bytes=1000, times=2))

    beginning = store.get("k", max_bytes=2000).data

    assert _DATA[:2000] == beginning
    assert 2 == rule.count


def test_the_beginning_of_an_object_is_cut_off_where_the_server_knows_no_ranges(
    direct: S3ObjectStore, proxy: S3Proxy, store: S3ObjectStore
) -> None:
    direct.put("k", _DATA)
    rule = proxy.add(DropHeader(method="GET", key="/k", header="Range"))

    beginning = store.get("k", max_bytes=2000).data

    assert _DATA[:2000] == beginning
    # A server that checks signatures, which cover this header, leaves the request to boto3.
    assert rule.count


def test_an_error_that_breaks_off_is_read_again(proxy: S3Proxy, store: S3ObjectStore) -> None:
    rule = proxy.add(BreakOff(method="GET", key="/none", after_bytes=20, reset=True, times=2))

    with pytest.raises(ObjectNotFoundError):
        store.get("none")

    assert 2 == rule.count
    rule.times = None
    with pytest.raises(StoreUnavailableError, match=f"{proxy.url} broke off"):
        store.get("none")


def test_an_error_that_is_cut_off_is_told_by_its_status(
    proxy: S3Proxy, store: S3ObjectStore
) -> None:
    rule = proxy.add(BreakOff(method="GET", key="/none", after_bytes=20))

    with pytest.raises(ObjectNotFoundError):
        store.get("none")

    assert rule.count


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: BreakOff(after_bytes=0), id="truncated at once"),
        pytest.param(lambda: BreakOff(after_bytes=150), id="truncated"),
        pytest.param(lambda: BreakOff(after_bytes=150, reset=True), id="reset"),
        pytest.param(lambda: Corrupt(at=1), id="corrupt"),
    ],
)
def test_a_listing_that_breaks_off_is_read_whole_or_store_unavailable(
    make: Callable[[], Rule], direct: S3ObjectStore, proxy: S3Proxy, store: S3ObjectStore
) -> None:
    # given
    keys = ["jobs/a/1", "jobs/a/2", "jobs/b/1"]
    for key in keys:
        direct.put(key, b"1")

    # when
    rule = _add(proxy, make(), method="GET", key="list-type", times=2)

    # then
    assert keys == [info.key for info in store.list("jobs/")]
    assert 2 == rule.count
    rule.times = 4
    assert ["a", "b"] == list(store.list_folders("jobs/"))
    assert 4 == rule.count

    # when
    rule.times = None

    # then
    with pytest.raises(StoreUnavailableError, match=proxy.url):
        store.list("jobs/")
    with pytest.raises(StoreUnavailableError, match=proxy.url):
        store.list_folders("jobs/")


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (503, "ServiceUnavailable")])
def test_two_refusals_in_a_row_pass_unnoticed(
    status: int, code: str, direct: S3ObjectStore, proxy: S3Proxy, store: S3ObjectStore
) -> None:
    def refuse(method: str, key: str) -> Refuse:
        return proxy.add(Refuse(method=method, key=key, status=status, code=code, times=2))

    rules = [refuse("PUT", "/k"), refuse("GET", "/k"), refuse("GET", "list-type")]
    rules += [refuse("DELETE", "/k"), refuse("PUT", "/claim")]

    store.put("k", _DATA)
    assert _DATA == store.get("k").data
    assert ["k"] == [info.key for info in store.list("")]
    store.delete("k")
    assert store.put_if_absent("claim", b"mine")

    assert [2] * 5 == [rule.count for rule in rules]
    assert ["claim"] == [info.key for info in direct.list("claim")]


def test_a_burst_of_slow_down_passes_unnoticed(
    direct: S3ObjectStore, proxy: S3Proxy, store: S3ObjectStore
) -> None:
    rule = proxy.add(Refuse(times=2))

    store.put("k", b"1")

    assert 2 == rule.count
    assert b"1" == direct.get("k").data


#: Every call, and whether the fast client tries it before boto3.
_CALLS: list[tuple[Callable[[ObjectStore], object], bool]] = [
    (lambda store: store.get("k"), True),
    (lambda store: store.list(""), True),
    (lambda store: store.put("k", b"1"), True),
    (lambda store: store.put_if_absent("k", b"1"), True),
    (lambda store: store.list_folders(""), True),
    (lambda store: store.delete("k"), True),
]


@pytest.mark.parametrize(
    ("make", "calls"),
    [
        pytest.param(lambda: Refuse(status=500, code="InternalError"), _CALLS, id="500"),
        pytest.param(LoseAnswer, _CALLS, id="answers lost"),
        pytest.param(NoAnswer, _CALLS[:1], id="no answer"),
        pytest.param(NoAnswer, _CALLS[1:], id="no answer to others", marks=pytest.mark.slow),
    ],
)
def test_a_failure_without_end_is_store_unavailable_after_a_few_tries(
    make: Callable[[], Rule],
    calls: list[tuple[Callable[[ObjectStore], object], bool]],
    proxy: S3Proxy,
    open_store: OpenStore,
) -> None:
    store = open_store(Limits(attempts=3, connect_timeout_s=0.5, read_timeout_s=0.5))
    assert store.conditional_writes in {True, False}

    for call, wired in calls:
        rule = _add(proxy, make())
        with pytest.raises(StoreUnavailableError, match=proxy.url) as caught:
            call(store)
        proxy.heal()

        assert caught.value.may_pass_later
        # Whether an answer is lost or the server half open, no more tries are made; a put that is
        # refused looks for a folder in its way, besides.
        first, *_ = hits = [_is_listing(hit) for hit in rule.hit]
        assert 3 + (_own_tries(store) if wired else 0) == hits.count(first)


def _is_listing(url: str) -> bool:
    return "list-type=" in url


def _own_tries(store: S3ObjectStore) -> int:
    """Tries before boto3's: one if there is a fast client."""
    return 0 if store._wire is None else 1


@pytest.mark.slow
def test_slow_down_without_end_is_store_unavailable(proxy: S3Proxy, open_store: OpenStore) -> None:
    store = open_store(Limits(attempts=2))
    proxy.add(Refuse())

    with pytest.raises(StoreUnavailableError, match=rf"{proxy.url} is overloaded \(SlowDown"):
        store.put("k", b"1")


def test_a_call_that_gets_no_answer_ends_after_little_more_than_a_minute(
    open_store: OpenStore,
) -> None:
    limits = Limits()

    assert 75.0 >= (limits.attempts + _own_tries(open_store(limits))) * limits.read_timeout_s


def test_an_answer_that_trickles_is_store_unavailable(
    direct: S3ObjectStore, proxy: S3Proxy, open_store: OpenStore
) -> None:
    # given: 1 KB/s, by a clock that runs 128 times as fast
    direct.put("k", _DATA)
    rule = proxy.add(Trickle(method="GET", key="/k", bytes_per_s=128_000))
    store = open_store(Limits(clock=lambda: 128 * time.monotonic()))

    # then
    with pytest.raises(StoreUnavailableError, match=f"{proxy.url} is too slow"):
        store.get("k")
    assert 1 == rule.count


@pytest.mark.slow
def test_a_request_that_trickles_is_store_unavailable(
    proxy: S3Proxy, open_store: OpenStore
) -> None:
    # given: 1 KB/s, by a clock that runs 128 times as fast
    rule = proxy.add(Trickle(method="PUT", key="/k", bytes_per_s=128_000, request=True))
    store = open_store(Limits(clock=lambda: 128 * time.monotonic()))

    # then: what the socket buffers at once has no throughput
    with pytest.raises(StoreUnavailableError, match=f"{proxy.url} is too slow"):
        store.put("k", bytes(16_000_000))
    assert rule.count


@pytest.mark.slow
def test_a_slow_and_honest_line_is_waited_for(
    direct: S3ObjectStore, proxy: S3Proxy, open_store: OpenStore
) -> None:
    # given: 200 KB/s for 45 s, by a clock that runs 40 times as fast
    data = _DATA * 3
    answers = proxy.add(Trickle(method="GET", bytes_per_s=8_000_000))
    requests = proxy.add(Trickle(method="PUT", bytes_per_s=8_000_000, request=True))
    store = open_store(
        Limits(connect_timeout_s=0.5, read_timeout_s=10, clock=lambda: 40 * time.monotonic())
    )

    # when
    store.put("k", data)

    # then
    assert data == store.get("k").data
    assert data == direct.get("k").data
    assert (1, 1) == (answers.count, requests.count)


@_both_stores
@pytest.mark.parametrize("times", [1, 2])
def test_an_answer_that_is_lost_after_put_if_absent_is_still_a_yes(
    times: int, direct: S3ObjectStore, proxy: S3Proxy, store: S3ObjectStore
) -> None:
    assert direct.conditional_writes == store.conditional_writes
    rule = proxy.add(LoseAnswer(method="PUT", key="/claim", times=times))

    won = store.put_if_absent("claim", b"mine")

    assert won
    assert times == rule.count
    assert b"mine" == direct.get("claim").data
    assert not store.put_if_absent("claim", b"theirs")


@_both_stores
@pytest.mark.parametrize("times", [1, 2])
def test_an_answer_that_is_lost_while_probing_changes_nothing(
    times: int, direct: S3ObjectStore, proxy: S3Proxy, store: S3ObjectStore
) -> None:
    rule = proxy.add(LoseAnswer(method="PUT", key="/probe/", times=times))

    honours = store.conditional_writes

    assert direct.conditional_writes == honours
    assert times == rule.count
    assert [] == list(direct.list("probe/"))


@_both_stores
def test_a_store_that_is_found_to_ignore_conditions_is_asked_before_it_is_written_to(
    direct: S3ObjectStore, proxy: S3Proxy, store: S3ObjectStore
) -> None:
    # rclone ignores the condition, but it is signed, so it cannot be dropped.
    rule = proxy.add(DropHeader(method="PUT")) if direct.conditional_writes else None

    assert not store.conditional_writes
    assert store.put_if_absent("claim", b"first")
    assert not store.put_if_absent("claim", b"second")
    assert b"first" == store.get("claim").data
    assert rule is None or rule.count


@_both_stores
def test_conditions_that_are_ignored_after_the_probe_break_nothing(
    direct: S3ObjectStore, proxy: S3Proxy, store: S3ObjectStore
) -> None:
    assert direct.conditional_writes == store.conditional_writes
    proxy.add(DropHeader(method="PUT", key="/claim"))

    assert store.put_if_absent("claim", b"first")
    won = store.put_if_absent("claim", b"second")

    # This cannot be detected, but the answer is true of what is stored.
    assert won == (direct.get("claim").data == b"second")


def test_bytes_that_flip_on_their_way_once_are_read_again(
    direct: S3ObjectStore, proxy: S3Proxy, store: S3ObjectStore
) -> None:
    direct.put("k", _DATA)
    rule = proxy.add(Corrupt(method="GET", key="/k", at=500, times=1))

    read = JobStore(objects=store).read_checked(_ref("k", _DATA))

    assert _DATA == read
    assert 1 == rule.count


def test_bytes_that_are_wrong_twice_are_an_integrity_error(
    direct: S3ObjectStore, proxy: S3Proxy, store: S3ObjectStore
) -> None:
    direct.put("k", _DATA)
    rule = proxy.add(Corrupt(method="GET", key="/k", at=500))

    with pytest.raises(IntegrityError, match="k does not match its sha256"):
        JobStore(objects=store).read_checked(_ref("k", _DATA))

    assert 2 == rule.count


@pytest.mark.parametrize(
    ("size", "said"), [(9, "has 9 bytes and 10"), (11, "has more than 10 bytes and 10")]
)
def test_an_object_of_another_size_is_an_integrity_error(
    size: int, said: str, direct: S3ObjectStore
) -> None:
    direct.put("k", bytes(size))

    with pytest.raises(IntegrityError, match=said):
        JobStore(objects=direct).read_checked(_ref("k", bytes(10)))


def test_an_object_that_is_much_too_large_takes_no_memory(rclone_objects: S3ObjectStore) -> None:
    rclone_objects.put("k", bytes(32 * 1024 * 1024))
    jobs = JobStore(objects=rclone_objects)
    tracemalloc.start()

    with pytest.raises(IntegrityError):
        jobs.read_checked(_ref("k", bytes(10)))

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


def _ref(key: str, data: bytes) -> ObjectRef:
    return ObjectRef(key=key, size_bytes=len(data), sha256=sha256_hex(data))


def _add(
    proxy: S3Proxy, rule: Rule, *, method: str = "", key: str = "", times: int | None = None
) -> Rule:
    rule.method, rule.key, rule.times = method, key, times
    return proxy.add(rule)
