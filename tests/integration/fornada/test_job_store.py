"""The objects of jobs: on every kind of store where the store decides, else in memory alone."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from fornada import keys
from fornada.errors import (
    IntegrityError,
    JobConflictError,
    JobNotFoundError,
    LaterVersionError,
    MessageError,
    ObjectNotFoundError,
)
from fornada.formats.npy import to_npy
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobFinal, ShardOutcome
from fornada.jobs.shard_inputs import ShardInput
from fornada.jobs.store import JobStore
from fornada.jobs.summary import OutcomesDigest
from fornada.records import ModelPin, ObjectRef, now, sha256_hex
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.memory import InMemoryObjectStore
from fornada.storage.s3.store import S3ObjectStore
from fornada.storage.wrapper import StoreWrapper

from ...arrays import giving

AT = datetime(2026, 1, 1, tzinfo=UTC)
SHA = "a" * 64
ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)
GIVES = giving(2)


#: What the kind of store does not matter to.
in_memory = pytest.mark.parametrize("object_store", ["memory"], indirect=True)


@pytest.fixture
def jobs(object_store: ObjectStore) -> JobStore:
    return JobStore(objects=object_store)


def manifest(shard_count: int = 2, *, job_id: str = "job", **changes: object) -> JobManifest:
    ref = ObjectRef(key="k", size_bytes=1, sha256=SHA)
    return JobManifest(
        **{
            "job_id": job_id,
            "model": ModelPin(name="m", version=1, sha256=SHA),
            "item_shape": [2],
            "item_dtype": "uint8",
            "classes": ["a", "b"],
            "shards": [ShardInput(objects=[ref], item_count=3)] * shard_count,
            "max_attempts": 3,
            "created_at": AT,
            **changes,
        }
    )


def outcome(jobs: JobStore, shard: int, *, status: str = "ok", attempt: str = "a") -> ShardOutcome:
    data = None
    if status == "ok":
        body = to_npy(ROWS)
        key = keys.JobKeys("job").data(shard, attempt)
        jobs.objects.put(key, body)
        data = ObjectRef(key=key, size_bytes=len(body), sha256=sha256_hex(body))
    return ShardOutcome(
        job_id="job",
        shard=shard,
        status=status,
        attempt=attempt,
        data=data,
        item_count=3,
        model_sha256=SHA,
        worker="w",
        began_at=AT,
        committed_at=now(),
    )


def test_a_manifest_is_read_back(jobs: JobStore) -> None:
    created = jobs.create(manifest())

    assert created == jobs.manifest("job")
    assert ["job"] == jobs.job_ids()


def test_the_first_manifest_holds_and_other_content_is_a_conflict(jobs: JobStore) -> None:
    first = jobs.create(manifest())

    again = jobs.create(manifest(created_at=AT + timedelta(hours=1)))

    assert first == again
    with pytest.raises(JobConflictError, match="'job' exists with other images"):
        jobs.create(manifest(3))

    assert first == jobs.manifest("job")


@in_memory
def test_an_unknown_job_is_not_found(jobs: JobStore) -> None:
    with pytest.raises(JobNotFoundError, match="'none'"):
        jobs.manifest("none")


@in_memory
def test_a_broken_manifest_names_its_key(jobs: JobStore) -> None:
    jobs.objects.put(keys.JobKeys("job").manifest, b"{")

    with pytest.raises(MessageError, match=r"jobs/job/manifest\.json"):
        jobs.manifest("job")


def test_the_first_outcome_holds(jobs: JobStore) -> None:
    first = jobs.commit(outcome(jobs, 0, attempt="first"))

    second = jobs.commit(outcome(jobs, 0, attempt="second"))

    assert "first" == first.attempt
    assert first == second == jobs.outcome("job", 0)


@in_memory
def test_committing_the_same_twice_is_no_loss(jobs: JobStore) -> None:
    mine = outcome(jobs, 0)

    assert mine == jobs.commit(mine) == jobs.commit(mine)


@pytest.mark.parametrize("order", [["dead", "ok"], ["ok", "dead"]])
def test_dead_and_ok_leave_the_same_end_for_every_reader(jobs: JobStore, order: list[str]) -> None:
    held = [jobs.commit(outcome(jobs, 0, status=status, attempt=status)) for status in order]

    # A store that decides keeps the first; on one that does not, ok wins in either order.
    expected = order[0] if jobs.objects.conditional_writes else "ok"
    assert expected == jobs.outcome("job", 0).status
    assert expected == held[-1].status
    assert {0} == jobs.outcome_shards("job")


@pytest.mark.parametrize("late", ["dead", "ok"])
def test_the_outcome_that_the_job_ended_with_beats_others(jobs: JobStore, late: str) -> None:
    # given an attempt that stood still before it ended its job, and others meanwhile
    job = jobs.create(manifest(1, schema_version=2))
    jobs.commit(outcome(jobs, 0, status=late))
    (final,) = jobs.commit_ends([(job, outcome(jobs, 0, attempt="ok"))])

    # then what the end says holds for every reader
    assert isinstance(final, JobFinal)
    assert "SUCCEEDED" == final.state
    assert final.outcome == jobs.outcome("job", 0) == jobs.counted_outcome(final, 0)
    assert final.outcome == jobs.commit(outcome(jobs, 0, status="dead", attempt="late"))
    assert [final.outcome] == list(jobs.outcomes("job", [0]))


def test_a_dead_shard_stays_dead_whatever_comes_after_the_end(jobs: JobStore) -> None:
    job = jobs.create(manifest(2))
    for shard, status in enumerate(["ok", "dead"]):
        jobs.commit(outcome(jobs, shard, status=status))
    final = jobs.finish_if_complete(job)

    jobs.commit(outcome(jobs, 1, attempt="late"))

    assert "dead" == jobs.counted_outcome(final, 1).status
    jobs.check_outcomes(final)


@in_memory
def test_dead_alone_is_dead(jobs: JobStore) -> None:
    jobs.commit(outcome(jobs, 1, status="dead"))

    assert "dead" == jobs.outcome("job", 1).status
    assert {1} == jobs.outcome_shards("job")


def test_many_shards_are_listed_whole_in_blocks(jobs: JobStore) -> None:
    # given outcomes at the borders of blocks, one of them dead
    for shard in (0, 999, 1000, 2001):
        jobs.commit(outcome(jobs, shard, status="dead" if shard == 1000 else "ok"))

    # then
    assert {0, 999, 1000, 2001} == jobs.outcome_shards("job", shard_count=2002)
    assert {0, 999, 1000, 2001} == jobs.outcome_shards("job")


def test_blocks_without_outcomes_or_of_known_ones_are_not_listed(
    memory_objects: InMemoryObjectStore,
) -> None:
    # given a block that is full, one that is begun, and three that are not
    listed: list[str] = []

    class Noting(StoreWrapper):
        def around(self, operation: str, key: str) -> AbstractContextManager[object]:
            if operation == "list":
                listed.append(key)
            return nullcontext()

    jobs = JobStore(objects=Noting(memory_objects))
    known = set(range(1000))
    for shard in (*known, 1000, 1003):
        jobs.objects.put(keys.JobKeys("job").outcome(shard), b"{}")

    first = jobs.outcome_shards("job", shard_count=5000)
    of_first = sorted(listed)
    again = jobs.outcome_shards("job", shard_count=5000, known=known)

    assert known | {1000, 1003} == first == again
    blocks = keys.JobKeys("job").outcome_blocks(2000)
    assert (blocks, blocks[1:]) == (of_first, listed[2:])


def test_what_a_process_wrote_itself_is_not_read_for_the_end_unless_it_was_replaced(
    object_store: ObjectStore,
) -> None:
    read: list[str] = []

    class Noting(StoreWrapper):
        def around(self, operation: str, key: str) -> AbstractContextManager[object]:
            if operation == "get" and "/outcome/" in key:
                read.append(key)
            return nullcontext()

    own, other = JobStore(objects=Noting(object_store)), JobStore(objects=object_store)
    job = own.create(manifest(4))
    for shard, jobs in enumerate([own, own, own, other]):
        jobs.commit(outcome(jobs, shard), no_other_writer=True)
    replaced = outcome(other, 1, attempt="b")
    object_store.put(keys.JobKeys("job").outcome(1), replaced.to_json())
    read.clear()

    final = own.finish_if_complete(job)

    assert final is not None
    other.check_outcomes(final)
    assert [keys.JobKeys("job").outcome(shard) for shard in (1, 3)] == sorted(set(read))


def test_what_lies_beside_outcomes_is_no_shard(jobs: JobStore) -> None:
    # given what consoles and hosts leave in folders, and an outcome of more shards than there are
    jobs.commit(outcome(jobs, 0))
    folder = keys.JobKeys("job").outcome_blocks(3)[0]
    for name in (".DS_Store", "-1.json", "1.json", "00000002.json.bak"):
        jobs.objects.put(f"{folder}{name}", b"x")
    jobs.objects.put(f"{keys.JobKeys('job').dead_prefix}x", b"x")
    jobs.objects.put(keys.JobKeys("job").outcome(3), b"x")

    assert {0} == jobs.outcome_shards("job", shard_count=3)


@pytest.mark.parametrize("shard_count", [1, 3])
def test_a_job_with_an_outcome_that_is_none_ends_and_says_so(
    jobs: JobStore, shard_count: int
) -> None:
    # given a disk that kept half of an outcome, which no store writes twice
    job = manifest(shard_count=shard_count)
    jobs.create(job)
    for shard in range(1, shard_count):
        jobs.commit(outcome(jobs, shard))
    jobs.objects.put(keys.JobKeys("job").outcome(0), b'{"schema_version": 3, ')

    final = jobs.finish_if_complete(job)

    assert final is not None
    assert ("FAILED", 1, shard_count - 1) == (final.state, final.shards_missing, final.shards_ok)
    assert final.reason is not None
    assert f"1 of {shard_count} outcomes cannot be read: jobs/job/outcome/" in final.reason
    jobs.check_outcomes(final)


def test_a_job_with_an_outcome_of_a_later_release_waits_for_a_worker_of_it(jobs: JobStore) -> None:
    job = manifest(shard_count=1)
    jobs.create(job)
    later = outcome(jobs, 0).model_copy(update={"schema_version": 4})
    jobs.objects.put(keys.JobKeys("job").outcome(0), later.to_json())

    with pytest.raises(LaterVersionError):
        jobs.finish_if_complete(job)

    assert jobs.final("job") is None


@in_memory
def test_outcomes_come_in_the_order_asked_without_the_missing(jobs: JobStore) -> None:
    for shard in (0, 2, 40):
        jobs.commit(outcome(jobs, shard))

    assert [40, 2, 0] == [o.shard for o in jobs.outcomes("job", [40, 7, 2, 0])]


@in_memory
def test_a_job_is_not_finished_before_its_last_outcome(jobs: JobStore) -> None:
    job = jobs.create(manifest())
    jobs.commit(outcome(jobs, 0))

    assert jobs.finish_if_complete(job) is None

    jobs.commit(outcome(jobs, 1))
    assert "SUCCEEDED" == jobs.finish_if_complete(job).state


@in_memory
def test_the_end_has_counts_and_digest_over_the_outcomes(jobs: JobStore) -> None:
    job = jobs.create(manifest(4))
    committed = [
        jobs.commit(outcome(jobs, shard, status="dead" if shard == 2 else "ok"))
        for shard in (0, 2, 3)
    ]

    final = jobs.finish(job, "CANCELLED", "enough")

    assert final == jobs.final("job")
    assert (2, 1, 1) == (final.shards_ok, final.shards_dead, final.shards_missing)
    assert (6, 3) == (final.items_ok, final.items_failed)
    assert ([[0, 0], [2, 3]], [[2, 2]]) == (final.outcome_ranges, final.dead_ranges)
    assert OutcomesDigest(committed).sha256 == final.outcomes_sha256


def test_a_job_ends_once(jobs: JobStore) -> None:
    job = jobs.create(manifest())
    first = jobs.finish(job, "CANCELLED", "enough")
    jobs.commit(outcome(jobs, 0))
    jobs.commit(outcome(jobs, 1))

    assert first == jobs.finish(job, "EXPIRED", "late")
    assert first == jobs.finish_if_complete(job)


def test_of_many_that_finish_at_once_all_see_one_end(
    moto_settings: Settings,
) -> None:
    # given eight workers with clients of their own, on a store that decides
    stores = [JobStore(objects=S3ObjectStore.from_settings(moto_settings)) for _ in range(8)]
    job = stores[0].create(manifest(1))
    stores[0].commit(outcome(stores[0], 0))

    def finish(number: int) -> object:
        if number % 2:
            return stores[number].finish(job, "CANCELLED", f"by {number}")
        return stores[number].finish_if_complete(job)

    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(finish, range(8)))

    assert [stores[0].final("job")] * 8 == ends


def test_of_many_that_commit_at_once_all_see_one_outcome(moto_settings: Settings) -> None:
    stores = [JobStore(objects=S3ObjectStore.from_settings(moto_settings)) for _ in range(8)]

    with ThreadPoolExecutor(8) as pool:
        held = list(
            pool.map(lambda n: stores[n].commit(outcome(stores[n], 0, attempt=f"a{n}")), range(8))
        )

    assert [stores[0].outcome("job", 0)] * 8 == held


def test_a_cancel_request_is_kept_as_it_was_first_made(jobs: JobStore) -> None:
    assert jobs.cancel_request("job") is None

    jobs.request_cancel("job", "first")
    jobs.request_cancel("job", "second")

    assert "first" == jobs.cancel_request("job").reason


@in_memory
def test_data_is_read_back_and_a_change_is_noticed(jobs: JobStore) -> None:
    committed = outcome(jobs, 0)
    np.testing.assert_array_equal(ROWS, jobs.outputs(committed, GIVES)[0])

    body = to_npy(ROWS)
    for changed, why in (
        (body[:-1] + bytes([body[-1] ^ 1]), "sha256"),
        (body[:-1], "bytes"),
        (body + b"x", "bytes"),
    ):
        jobs.objects.put(committed.data.key, changed)
        with pytest.raises(IntegrityError, match=why):
            jobs.outputs(committed, GIVES)


@in_memory
@pytest.mark.parametrize("where", [{"key": "jobs/other/data/0/a.npy"}, {"bucket": "other"}])
def test_data_of_another_job_is_not_read(jobs: JobStore, where: dict[str, str]) -> None:
    held = outcome(jobs, 0)
    assert held.data is not None
    jobs.objects.put("jobs/other/data/0/a.npy", to_npy(ROWS))
    forged = held.model_copy(update={"data": held.data.model_copy(update=where)})

    with pytest.raises(IntegrityError, match="not below jobs/job/"):
        jobs.outputs(forged, GIVES)


@in_memory
def test_data_that_is_gone_is_named(jobs: JobStore) -> None:
    committed = outcome(jobs, 0)
    jobs.objects.delete(committed.data.key)

    with pytest.raises(ObjectNotFoundError, match=committed.data.key):
        jobs.outputs(committed, GIVES)


@in_memory
def test_a_dead_outcome_has_no_data(jobs: JobStore) -> None:
    with pytest.raises(IntegrityError, match="dead and has no data"):
        jobs.outputs(outcome(jobs, 0, status="dead"), GIVES)


def test_an_object_of_others_is_known_by_its_etag(jobs: JobStore) -> None:
    jobs.objects.put("theirs.npy", b"12345")
    ref = ObjectRef(key="theirs.npy", size_bytes=5, etag=jobs.objects.get("theirs.npy").etag)
    assert b"12345" == jobs.read_checked(ref)

    jobs.objects.put("theirs.npy", b"54321")

    with pytest.raises(IntegrityError, match="was changed after it was recorded"):
        jobs.read_checked(ref)
