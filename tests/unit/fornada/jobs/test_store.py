"""How jobs are counted, digested and compared: what needs no server to be shown."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fornada.errors import JobConflictError
from fornada.jobs.creation import work_of
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.shard_inputs import ShardInput
from fornada.jobs.store import JobStore
from fornada.jobs.summary import OutcomesDigest, summarise
from fornada.parallel import in_parallel, in_parallel_within
from fornada.ranges import from_ranges, to_ranges
from fornada.records import ItemError, ModelPin, ObjectRef
from fornada.storage.memory import InMemoryObjectStore
from fornada.testing import InMemoryCoordination

AT = datetime(2026, 1, 1, tzinfo=UTC)
SHA = "a" * 64


def manifest(*item_counts: int, **changes: object) -> JobManifest:
    ref = ObjectRef(key="k", size_bytes=1, sha256=SHA)
    return JobManifest(
        **{
            "job_id": "job",
            "model": ModelPin(name="m", version=1, sha256=SHA),
            "item_shape": [2],
            "item_dtype": "uint8",
            "classes": ["a"],
            "shards": [ShardInput(objects=[ref], item_count=count) for count in item_counts],
            "max_attempts": 3,
            "created_at": AT,
            **changes,
        }
    )


def outcome(shard: int, item_count: int, *, bad: int = 0, dead: bool = False) -> ShardOutcome:
    return ShardOutcome(
        job_id="job",
        shard=shard,
        status="dead" if dead else "ok",
        attempt="a",
        data=None if dead else ObjectRef(key="k", size_bytes=1, sha256=f"{shard:064x}"),
        item_count=item_count,
        item_errors=[ItemError(index=index, reason="NaN") for index in range(bad)],
        reason="input" if dead else None,
        detail="truncated" if dead else None,
        model_sha256=SHA,
        worker="w",
        began_at=AT,
        committed_at=AT + timedelta(seconds=shard),
    )


@given(st.sets(st.integers(0, 300)))
def test_numbers_come_back_from_their_ranges(numbers: set[int]) -> None:
    ranges = to_ranges(sorted(numbers))

    assert sorted(numbers) == from_ranges(ranges)
    for (_, last), (first, _) in pairwise(ranges):
        assert last + 1 < first


def test_ranges_are_inclusive() -> None:
    assert [[0, 2], [5, 5]] == to_ranges([0, 1, 2, 5])
    assert [] == to_ranges([])


def test_the_digest_is_what_the_manual_says() -> None:
    text = f"0 ok {0:064x}\n1 dead -\n"

    assert (
        hashlib.sha256(text.encode()).hexdigest()
        == OutcomesDigest([outcome(0, 1), outcome(1, 1, dead=True)]).sha256
    )


def test_a_job_with_ok_outcomes_alone_succeeded() -> None:
    final = summarise(manifest(4, 3), [outcome(0, 4, bad=1), outcome(1, 3)], None, None)

    assert ("SUCCEEDED", None, 6, 1) == (
        final.state,
        final.reason,
        final.items_ok,
        final.items_failed,
    )
    assert AT + timedelta(seconds=1) == final.last_outcome_at


def test_a_job_with_a_dead_outcome_failed_and_says_why() -> None:
    outcomes = [outcome(0, 4), outcome(1, 3, dead=True), outcome(2, 5, dead=True)]

    final = summarise(manifest(4, 3, 5), outcomes, None, None)

    assert ("FAILED", 1, 2, 0) == (
        final.state,
        final.shards_ok,
        final.shards_dead,
        final.shards_missing,
    )
    assert (4, 8) == (final.items_ok, final.items_failed)
    assert "2 shards are dead; shard 1: truncated" == final.reason


def test_a_job_that_was_stopped_counts_what_is_missing() -> None:
    final = summarise(manifest(4, 3, 5), [outcome(1, 3)], "CANCELLED", "enough")

    assert ("CANCELLED", "enough", 2, [[1, 1]]) == (
        final.state,
        final.reason,
        final.shards_missing,
        final.outcome_ranges,
    )


def test_a_job_stopped_before_anything_came_out_has_no_last_outcome() -> None:
    final = summarise(manifest(4), [], "EXPIRED", "late")

    assert final.last_outcome_at is None
    assert [] == final.outcome_ranges


def test_the_same_work_at_another_time_is_the_same() -> None:
    later = {"created_at": AT + timedelta(days=1), "deadline": AT}

    assert work_of(manifest(4)) == work_of(manifest(4, **later))


@pytest.mark.parametrize(
    "change",
    [
        {"model": ModelPin(name="m", version=2, sha256=SHA)},
        {"classes": ["b"]},
        {"max_attempts": 4},
        {"tags": {"a": "b"}},
    ],
)
def test_other_work_is_not_the_same(change: dict[str, object]) -> None:
    assert work_of(manifest(4)) != work_of(manifest(4, **change))
    assert work_of(manifest(4)) != work_of(manifest(5))
    assert work_of(manifest(4)) != work_of(manifest(4, 4))


class _Racing(InMemoryObjectStore):
    """Ignores conditions; between its read and its write, once, another writer gets in."""

    def __init__(self) -> None:
        super().__init__(conditional_writes=False)
        self.meanwhile: list[Callable[[], object]] = []

    def put_if_absent(self, key: str, data: bytes) -> bool:
        absent = not list(self.list(key))
        while self.meanwhile:
            self.meanwhile.pop()()
        if absent:
            self.put(key, data)
        return self.get(key).data == data


def test_of_two_who_create_a_job_at_once_one_holds() -> None:
    # given one who comes through while another is about to write
    objects, decisions = _Racing(), InMemoryCoordination()
    mine, other = manifest(4), manifest(5)
    told: list[Exception] = []

    def create_other() -> None:
        try:
            JobStore(objects=objects, decisions=decisions).create(other)
        except JobConflictError as exc:
            told.append(exc)

    objects.meanwhile.append(create_other)

    # when
    jobs = JobStore(objects=objects, decisions=decisions)
    created = jobs.create(mine)

    # then
    assert mine is created
    assert mine == jobs.manifest("job")
    assert ["exists with other images"] == [str(exc)[10:34] for exc in told]


def test_of_two_who_create_the_same_job_at_once_both_write_the_same() -> None:
    # given
    objects, decisions = _Racing(), InMemoryCoordination()
    jobs = JobStore(objects=objects, decisions=decisions)
    first, later = manifest(4), manifest(4, created_at=AT + timedelta(seconds=1), deadline=AT)
    others: list[JobManifest] = []
    objects.meanwhile.append(lambda: others.append(jobs.create(later)))

    # when
    created = jobs.create(first)

    # then: only the first one is to enqueue it
    assert first is created
    assert [first] == others
    assert others[0] is not later


def test_a_creator_who_died_before_he_wrote_blocks_nobody_with_the_same_work() -> None:
    objects, decisions = InMemoryObjectStore(conditional_writes=False), InMemoryCoordination()
    objects.put_if_absent = _die
    with pytest.raises(KeyboardInterrupt):
        JobStore(objects=objects, decisions=decisions).create(manifest(4))
    del objects.put_if_absent

    jobs = JobStore(objects=objects, decisions=decisions)
    jobs.create(manifest(4, created_at=AT + timedelta(seconds=1)))

    assert manifest(4) == jobs.manifest("job")


def _die(_key: str, _data: bytes) -> bool:
    raise KeyboardInterrupt


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_parallel_reads_come_in_order(count: int) -> None:
    assert [n * n for n in range(count)] == list(in_parallel(lambda n: n * n, range(count)))


def test_parallel_reads_do_not_run_far_ahead() -> None:
    read: list[int] = []

    results = in_parallel(lambda n: read.append(n) or n, range(1000))
    next(results)

    assert len(read) <= 64
    results.close()


def test_results_are_read_ahead_up_to_so_many_bytes_and_larger_ones_alone() -> None:
    read: list[int] = []

    def results(size_bytes: int) -> Iterator[int]:
        read.clear()
        return in_parallel_within(
            lambda n: read.append(n) or n,
            iter(range(100)),
            size_bytes=lambda _n: size_bytes,
            most_bytes=10,
        )

    for size_bytes, most in ((3, 3), (10, 1), (11, 1)):
        for number, result in enumerate(results(size_bytes)):
            assert number == result
            assert len(read) <= number + most
        assert 100 == len(read)


def test_an_error_of_a_parallel_read_reaches_the_reader() -> None:
    def fail(number: int) -> int:
        if number == 5:
            raise ValueError("five")
        return number

    with pytest.raises(ValueError, match="five"):
        list(in_parallel(fail, range(100)))


def test_parallel_reads_leave_no_thread() -> None:
    before = threading.active_count()

    list(in_parallel(str, range(100)))

    assert before == threading.active_count()
