"""What anyone who can write to Redis puts there: it ends in a refusal and a log line."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from fornada import keys
from fornada.coordination.interface import Claim, ShardEnd
from fornada.formats.npy import to_npy
from fornada.jobs.creation import _Created, work_of
from fornada.jobs.ids import message_for, with_content_id
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import JobFinal, ShardOutcome
from fornada.jobs.shard_inputs import ShardInput, Shards
from fornada.jobs.summary import summarise
from fornada.jobs.upkeep.reconciler import _ROUNDS_PER_CENSUS
from fornada.queue.message import ShardMessage
from fornada.records import ObjectRef, now
from fornada.testing import TEST_KEYS
from fornada.trust.deployment_keys import NO_KEYS, DeploymentKeys, Kind

ITEMS = np.arange(9, dtype=np.float32).reshape(3, 3)
FORGED = np.full((1, 2), 7, np.float32)
OTHER_KEYS = DeploymentKeys([b"x" * 32])


@pytest.fixture(params=[TEST_KEYS, NO_KEYS], ids=["key", "no key"], autouse=True)
def _deployment_keys(world: Any, request: pytest.FixtureRequest) -> None:
    world.use_keys(request.param)


@pytest.fixture
def reconciler(world: Any) -> Any:
    """It has gone round once, and so knows of all jobs."""
    made = world.new_reconciler()
    made.round()
    return made


def forged_end(job: JobManifest) -> JobFinal:
    """An end whose one outcome says 7."""
    outcome = ShardOutcome(
        schema_version=job.schema_version,
        job_id=job.job_id,
        shard=0,
        status="ok",
        attempt="forged",
        data=ObjectRef.of("forged.npy", to_npy(FORGED), inline=True),
        item_count=1,
        model_sha256=job.model.sha256,
        worker="nobody",
        began_at=now(),
        committed_at=now(),
    )
    return summarise(job, [outcome], None, None).model_copy(update={"outcome": outcome})


def sealed(by: DeploymentKeys, kind: Kind, name: str, data: bytes) -> bytes:
    return (by.sign(kind, name, data) or "").encode() + b"\n" + data


def run_until_ended(world: Any, reconciler: Any, job_id: str, *, within_s: int = 3600) -> JobFinal:
    """Go round, and run what is enqueued, until the job ends."""
    for _ in range(within_s // 61):
        while world.queue:
            world.service.run(world.queue.pop(0))
        final = world.jobs.final(job_id)
        if final is not None:
            assert isinstance(final, JobFinal)
            return final
        world.advance(61)
        reconciler.round()
    pytest.fail(f"job {job_id} did not end within {within_s} s")


# Ends.


def test_an_end_that_another_process_is_about_to_write_is_waited_for(world: Any) -> None:
    # given a cancel that stands in Redis before it is written, while a worker runs the job
    job = world.submit([ITEMS[:1]])
    decide, seen = world.coordination.decide_ends, []

    def run_meanwhile(ends: Mapping[str, bytes], **options: bool) -> dict[str, bytes]:
        answer: dict[str, bytes] = decide(ends, **options)
        world.coordination.decide_ends = decide
        world.run()
        seen.append(world.jobs.final(job.job_id))
        return answer

    world.coordination.decide_ends = run_meanwhile
    final = world.jobs.finish(job, "CANCELLED", "enough")

    # then whoever looks sees one end, and no other later
    if not world.objects.conditional_writes:
        assert [final if world.deployment_keys else None] == seen
    assert "CANCELLED" == final.state
    assert final == world.jobs.final(job.job_id)


@pytest.mark.parametrize("own_id", [True, False], ids=["generated", "own"])
@pytest.mark.parametrize(
    "seal",
    [
        lambda _job_id, end: end,
        lambda job_id, end: sealed(OTHER_KEYS, "end", job_id, end),
        lambda _job_id, end: sealed(TEST_KEYS, "end", "another", end),
        lambda job_id, end: sealed(TEST_KEYS, "decision", job_id, end),
    ],
    ids=["unsigned", "other key", "other job", "other kind"],
)
def test_an_end_that_was_put_into_redis_first_is_not_the_jobs(
    world: Any,
    caplog: pytest.LogCaptureFixture,
    seal: Callable[[str, bytes], bytes],
    *,
    own_id: bool,
) -> None:
    # given an end with results of its own, as `fornada:end:<job>`
    job = world.submit_small([ITEMS[:1]])
    if not own_id:
        job = world.submit(job_id="orders-1", shards=list(job.shards))
    forged = forged_end(job).to_json()
    world.coordination.decide_ends({job.job_id: seal(job.job_id, forged)})

    # when
    message = message_for(job, 0, deployment_keys=world.deployment_keys)
    assert "ok" == world.service.run(message)

    # then
    final = run_until_ended(world, world.new_reconciler(), job.job_id)
    assert "SUCCEEDED" == final.state
    assert "forged" != world.outcome(job_id=job.job_id).attempt
    np.testing.assert_array_equal(world.row_sums(ITEMS[:1]), world.data(job_id=job.job_id))
    world.jobs.check_outcomes(final)
    if not world.objects.conditional_writes:
        assert "answer in Redis not believed" in caplog.messages


def test_the_signed_end_of_an_earlier_job_of_the_id_is_not_that_of_a_later_one(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    # given whoever kept what Redis held of a job that was purged
    kept: dict[str, bytes] = {}
    decide = world.coordination.decide_ends

    def tapped(ends: Mapping[str, bytes], **options: bool) -> dict[str, bytes]:
        kept.update(ends)
        answer: dict[str, bytes] = decide(ends, **options)
        return answer

    world.coordination.decide_ends = tapped
    world.submit([ITEMS[:1]], job_id="orders-1")
    world.run(job_id="orders-1")
    world.jobs.delete("orders-1")
    world.advance(3600)

    # when its id is submitted again, to the same worker, and the end put back
    again = world.submit([ITEMS[1:]], job_id="orders-1", created_at=now())
    if kept:
        decide(kept)
    caplog.clear()
    assert "ok" == world.run(job_id="orders-1")

    # then
    final = run_until_ended(world, world.new_reconciler(), "orders-1")
    assert (2, 0) == (final.items_ok, final.items_failed)
    assert final.ended_at >= again.created_at
    world.jobs.check_outcomes(final)
    assert world.objects.conditional_writes != any("not believed" in m for m in caplog.messages)


@pytest.mark.parametrize("was", ["purged", "cancelled"])
def test_a_message_that_is_sent_again_changes_no_job_that_was_over(
    world: Any, caplog: pytest.LogCaptureFixture, was: str
) -> None:
    # given a job that is over, and its message, signed where there is a key
    job = world.submit_small([ITEMS[:1]])
    message = message_for(job, 0, deployment_keys=world.deployment_keys)
    world.jobs.finish(job, "CANCELLED", "enough")
    if was == "purged":
        world.jobs.delete(job.job_id)
    before = [info.key for info in world.objects.list(keys.JobKeys(job.job_id).prefix)]
    final = world.jobs.final(job.job_id)

    # when Redis says that the job is open, that this is its first attempt, and nothing of its end
    world.coordination.flush()
    world.coordination.register_small_jobs([job.small_job()], queue="q", window=9)
    assert "ended" == world.service.run(message)

    # then
    assert before == [info.key for info in world.objects.list(keys.JobKeys(job.job_id).prefix)]
    assert final == world.jobs.final(job.job_id)
    said = "message dropped" if was == "purged" else "job had ended, whatever Redis said"
    assert said in caplog.messages


# Messages.


@pytest.mark.parametrize(
    ("version", "by"),
    [(2, NO_KEYS), (3, NO_KEYS), (3, OTHER_KEYS)],
    ids=["old", "unsigned", "other"],
)
def test_counters_in_redis_make_no_job_of_a_message(
    world: Any, caplog: pytest.LogCaptureFixture, version: int, by: DeploymentKeys
) -> None:
    # given a manifest that names any key, and counters that say that its job is known
    real = world.submit_small([ITEMS[:1]])
    world.stored("secret", to_npy(ITEMS))
    shards = Shards([ShardInput(objects=[ObjectRef(key="secret", size_bytes=9)], item_count=1)])
    named = with_content_id(real.model_copy(update={"shards": shards, "nonce": "forged"}))
    forged = named.manifest
    world.coordination.register_small_jobs([forged.small_job()], queue="q", window=9)
    read: list[str] = []
    world.objects.before = lambda _operation, key: read.append(key)

    # when
    message = ShardMessage(
        schema_version=version,
        job_id=forged.job_id,
        shard=0,
        manifest=named.text.decode(),
        hmac=by.sign("manifest", forged.job_id, named.text),
    )
    assert "ended" == world.service.run(message)

    # then neither the key is read nor anything written
    world.objects.before = lambda _operation, _key: None
    assert "secret" not in read
    assert [] == list(world.objects.list(keys.JobKeys(forged.job_id).prefix))
    assert "message dropped" in caplog.messages


def test_messages_of_jobs_that_do_not_exist_cost_a_look_a_job_and_one_line(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    job = world.submit([ITEMS])
    ghosts = [ShardMessage(job_id=f"ghost-{n % 4}", shard=n) for n in range(16)]
    read: list[str] = []
    world.objects.before = lambda _operation, key: read.append(key)

    results = world.service.run_bundle([*ghosts, ShardMessage(job_id=job.job_id, shard=0)])

    assert [*["ended"] * 16, "ok"] == results
    looks = [keys.JobKeys(f"ghost-{n}").manifest for n in range(4)]
    assert looks == sorted(key for key in read if "ghost" in key)
    assert 1 == caplog.messages.count("message dropped")


# Counters, bits and notes.


@pytest.mark.parametrize("bits", [[1], [0, 1, 2, 9999]], ids=["one", "all and more"])
@pytest.mark.parametrize("small", [True, False], ids=["small", "large"])
def test_shards_that_redis_calls_done_are_done(
    world: Any, reconciler: Any, caplog: pytest.LogCaptureFixture, bits: list[int], *, small: bool
) -> None:
    parts = [ITEMS[:1], ITEMS[1:2], ITEMS[2:]]
    job = world.submit_small(parts) if small else world.submit(parts)
    world.coordination.mark_done(job.job_id, [ShardEnd(shard) for shard in bits])

    final = run_until_ended(world, reconciler, job.job_id)

    assert ("SUCCEEDED", 3, 3) == (final.state, final.shards_ok, final.items_ok)
    assert "shards without outcome were marked done" in caplog.messages


def call_ended(world: Any, job_id: str) -> None:
    """As `fornada:ended:<job>`, without a time when it goes."""
    world.coordination._memory.ended[job_id] = "SUCCEEDED"
    world.coordination._memory.ended_until[job_id] = world.now_s + 10**9


@pytest.mark.parametrize("small", [True, False], ids=["small", "large"])
def test_a_job_that_redis_calls_ended_is_run(
    world: Any, caplog: pytest.LogCaptureFixture, *, small: bool
) -> None:
    parts = [ITEMS[:1], ITEMS[1:]]
    job = world.submit_small(parts) if small else world.submit(parts)
    for shard in range(2):
        call_ended(world, job.job_id)
        assert "ok" == world.run(job_id=job.job_id, shard=shard)

    assert "SUCCEEDED" == world.jobs.final(job.job_id).state
    assert 1 == caplog.messages.count("job has not ended, whatever Redis says")


@pytest.mark.parametrize("small", [True, False], ids=["small", "large"])
def test_a_reconciler_that_looks_at_a_job_corrects_that_it_ended(
    world: Any, reconciler: Any, *, small: bool
) -> None:
    job = world.submit_small([ITEMS]) if small else world.submit([ITEMS])
    call_ended(world, job.job_id)

    for _ in range(3):
        world.queue.clear()
        world.advance(61)
        reconciler.round()

    assert job.job_id not in world.coordination._memory.ended


@pytest.mark.parametrize("is_purged", [False, True], ids=["ended", "purged"])
def test_messages_of_a_job_that_has_ended_cost_one_look_at_its_end(
    world: Any, *, is_purged: bool
) -> None:
    # given
    job = world.submit([ITEMS[:1], ITEMS[1:2], ITEMS[2:]])
    world.jobs.finish(job, "CANCELLED", "enough")
    if is_purged:
        world.jobs.delete(job.job_id)
    call_ended(world, job.job_id)
    read: list[str] = []
    world.objects.before = lambda _operation, key: read.append(key)

    # when
    assert ["ended"] * 3 == [world.run(job_id=job.job_id, shard=shard) for shard in range(3)]

    # then
    assert (0 if is_purged else 1) == read.count(keys.JobKeys(job.job_id).final)


@pytest.mark.parametrize("small", [True, False], ids=["small", "large"])
def test_a_job_that_redis_calls_another_queues_ends(
    world: Any, reconciler: Any, *, small: bool
) -> None:
    job = world.submit_small([ITEMS]) if small else world.submit([ITEMS])
    world.coordination._memory.jobs[job.job_id].queue = "other"
    for _ in range(_ROUNDS_PER_CENSUS):
        reconciler.round()

    assert "SUCCEEDED" == run_until_ended(world, reconciler, job.job_id).state


def test_attempts_that_redis_invents_do_not_end_a_shard(world: Any) -> None:
    # given a count of attempts of which each should have killed its worker
    job = world.submit([ITEMS])
    for number in range(job.max_attempts + 20):
        world.coordination.begin([Claim(job.job_id, 0, f"forged-{number}")], lease_s=world.lease_s)
        world.advance(world.lease_s + 1)
    world.isolate_over(-1)

    assert "ok" == world.run(job_id=job.job_id)

    assert [] == world.outcome(job_id=job.job_id).item_errors


def test_an_outcome_that_redis_forgot_is_not_replaced(world: Any) -> None:
    # given a shard that is done, in a job of a generated id
    job = world.submit_small([ITEMS[:1], ITEMS[1:]])
    pointer = ShardMessage(job_id=job.job_id, shard=0)
    assert "ok" == world.service.run(pointer)
    committed = world.outcome(job_id=job.job_id)

    # when Redis says that it was never begun
    world.coordination._memory.jobs[job.job_id].done.clear()
    world.service.run(pointer)

    assert committed == world.outcome(job_id=job.job_id)


# Decisions.


@pytest.mark.parametrize("by", [NO_KEYS, OTHER_KEYS, TEST_KEYS], ids=["unsigned", "other", "old"])
def test_a_decision_about_a_new_job_does_not_set_its_deadline(
    world: Any, caplog: pytest.LogCaptureFixture, by: DeploymentKeys
) -> None:
    # given what says that the job was created long ago, and is over
    job = world.submit([ITEMS], job_id="orders-1")
    world.jobs.delete("orders-1")
    world.advance(3600)
    at = datetime.fromtimestamp(world.now_s, UTC)
    long_ago = job.created_at - timedelta(minutes=1)
    old = _Created(work_sha256=work_of(job), created_at=long_ago, deadline=long_ago).to_json()
    question = f"manifest of {job.job_id}"
    world.coordination.decide(question, sealed(by, "decision", question, old) if by else old)

    # when the same is submitted now
    created = world.jobs.create(job.model_copy(update={"created_at": at}))

    assert (at, None) == (created.created_at, created.deadline)
    if not world.objects.conditional_writes:
        assert any("in Redis not believed" in message for message in caplog.messages)
