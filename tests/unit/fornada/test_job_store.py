"""How jobs are counted, digested and compared: what needs no server to be shown."""

import hashlib
import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fornada.job_store import (
    from_ranges,
    in_parallel,
    outcomes_digest,
    same_work,
    summarise,
    to_ranges,
)
from fornada.messages import (
    ItemError,
    JobManifest,
    ModelPin,
    ObjectRef,
    ShardInput,
    ShardOutcome,
)

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

    assert hashlib.sha256(text.encode()).hexdigest() == outcomes_digest(
        [outcome(0, 1), outcome(1, 1, dead=True)]
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

    assert same_work(manifest(4), manifest(4, **later))


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
    assert not same_work(manifest(4), manifest(4, **change))
    assert not same_work(manifest(4), manifest(5))
    assert not same_work(manifest(4), manifest(4, 4))


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_parallel_reads_come_in_order(count: int) -> None:
    assert [n * n for n in range(count)] == list(in_parallel(lambda n: n * n, range(count)))


def test_parallel_reads_do_not_run_far_ahead() -> None:
    read: list[int] = []

    results = in_parallel(lambda n: read.append(n) or n, range(1000))
    next(results)

    assert len(read) <= 64
    results.close()


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
