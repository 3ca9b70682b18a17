"""What was read lately is used for seconds, and read once for all who ask."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest

from fornada.errors import StoreError
from gateway.auth import known
from gateway.auth.known import Known


class _Source:
    """Where values are read: each reader waits until its value is put there."""

    def __init__(self) -> None:
        self.answers: SimpleQueue[str | Exception] = SimpleQueue()
        self.begun = threading.Semaphore(0)
        self.read_count = 0
        self.now_s = 100.0

    def read(self, name: str) -> str:
        self.read_count += 1
        self.begun.release()
        answer = self.answers.get(timeout=30)
        if isinstance(answer, Exception):
            raise answer
        return f"{name} {answer}"


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> _Source:
    source = _Source()
    monkeypatch.setattr(known.time, "monotonic", lambda: source.now_s)
    return source


@pytest.fixture
def values(source: _Source) -> Known[str]:
    return Known(source.read, for_s=10, most=3)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as threads:
        yield threads


def test_a_crowd_that_asks_for_the_same_reads_it_once(
    source: _Source, values: Known[str], threads: ThreadPoolExecutor
) -> None:
    asked = [threads.submit(values.get, "key") for _ in range(20)]
    source.begun.acquire(timeout=30)
    source.answers.put("1")

    assert {"key 1"} == {each.result(30) for each in asked}
    assert 1 == source.read_count


def test_while_one_reads_anew_the_others_have_the_old_value(
    source: _Source, values: Known[str], threads: ThreadPoolExecutor
) -> None:
    source.answers.put("1")
    assert "key 1" == values.get("key")
    source.now_s += 5
    assert values.at_hand("key") is None
    reader = threads.submit(values.get, "key")
    assert source.begun.acquire(timeout=30)
    assert source.begun.acquire(timeout=30)

    entry = values.at_hand("key")
    assert ("key 1", "key 1") == (values.get("key"), entry.value if entry else None)

    source.answers.put("2")
    assert ("key 2", "key 2", 2) == (reader.result(30), values.get("key"), source.read_count)


def test_no_value_is_used_beyond_its_time_however_long_reading_takes(
    source: _Source, values: Known[str], threads: ThreadPoolExecutor
) -> None:
    source.answers.put("1")
    values.get("key")
    source.now_s += 6
    # It begins now, and its answer comes after the old value's time.
    reader = threads.submit(values.get, "key")
    assert source.begun.acquire(timeout=30)
    assert source.begun.acquire(timeout=30)
    source.now_s += 4
    late = threads.submit(values.get, "key")

    assert values.at_hand("key") is None
    source.answers.put("2")
    assert ("key 2", "key 2") == (reader.result(30), late.result(30))
    # Its age counts from when reading began.
    source.now_s += 6
    assert values.at_hand("key") is None


def test_a_store_that_fails_costs_no_value_before_its_time(
    source: _Source, values: Known[str]
) -> None:
    source.answers.put("1")
    values.get("key")
    source.now_s += 9
    source.answers.put(StoreError("down"))
    assert "key 1" == values.get("key")

    source.now_s += 1
    source.answers.put(StoreError("down"))
    with pytest.raises(StoreError, match="down"):
        values.get("key")


def test_what_is_forgotten_while_it_is_read_is_not_kept(
    source: _Source, values: Known[str], threads: ThreadPoolExecutor
) -> None:
    reader = threads.submit(values.get, "key")
    assert source.begun.acquire(timeout=30)
    values.forget("key")
    source.answers.put("old")
    assert "key old" == reader.result(30)

    source.answers.put("new")
    assert "key new" == values.get("key")


def test_the_one_read_longest_ago_goes(source: _Source, values: Known[str]) -> None:
    for name in "abcd":
        source.answers.put("1")
        values.get(name)

    assert [None, "b 1", "c 1", "d 1"] == [
        entry and entry.value for entry in map(values.at_hand, "abcd")
    ]
