"""Small jobs: inputs in messages, several at a time, with the fewest requests possible."""

import functools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from fornada import keys
from fornada.coordination.interface import Claim
from fornada.errors import (
    BrokerError,
    DeviceLostError,
    PredictionError,
    StoreUnavailableError,
)
from fornada.events import ShardFinished, Stage, StageEnded
from fornada.formats.npy import to_npy
from fornada.jobs.ids import message_for, with_content_id
from fornada.jobs.manifest import JobManifest
from fornada.jobs.outcome import ShardOutcome
from fornada.jobs.shard_inputs import ShardInput, Shards
from fornada.parallel import READ_THREADS
from fornada.queue.message import ShardMessage
from fornada.records import JOB_VERSION, ObjectRef, now
from fornada.tensors import InputTensor
from fornada.testing import TEST_KEYS
from fornada.trust.deployment_keys import DeploymentKeys

from ....arrays import stored_rows

ITEMS = np.arange(300, dtype=np.float32).reshape(100, 3)
UNCONDITIONAL = pytest.mark.parametrize("world", [False], indirect=True, ids=["unconditional"])


message_of = functools.partial(message_for, deployment_keys=TEST_KEYS)


def messages(*jobs: JobManifest) -> list[ShardMessage]:
    return [message_of(job, shard) for job in jobs for shard in range(len(job.shards))]


def submit(world: Any, count: int, **changes: object) -> list[JobManifest]:
    """Jobs of one image each."""
    return [world.submit_small([ITEMS[n : n + 1]], **changes) for n in range(count)]


def load_model(world: Any) -> None:
    """Load the model, so that it costs no request later."""
    world.service.run(message_of(submit(world, 1)[0], 0))


def probabilities(world: Any, job: JobManifest, shard: int = 0) -> np.ndarray:
    outcome = world.jobs.outcome(job.job_id, shard)
    assert outcome is not None
    return np.asarray(stored_rows(world.jobs, outcome))


def is_ended(world: Any, job: JobManifest) -> bool:
    """Whether the job succeeded with the right bytes, and Redis knows it."""
    (data,) = (world.jobs.read_checked(spec.objects[0]) for spec in job.shards)
    final = world.jobs.final(job.job_id)
    assert final is not None
    assert ("SUCCEEDED", 1, 0) == (final.state, final.shards_ok, final.shards_missing)
    items = np.frombuffer(data[-12:], np.float32).reshape(1, 3)
    np.testing.assert_array_equal(world.row_sums(items), probabilities(world, job))
    return world.coordination._memory.ended.get(job.job_id) == "SUCCEEDED"


# One by one.


def test_a_small_job_is_one_write_once_the_store_says_that_it_is_open(world: Any) -> None:
    load_model(world)
    (job,) = submit(world, 1)

    asked = world.requests(lambda: world.service.run(message_of(job, 0)))

    if world.objects.conditional_writes:
        assert {"get manifest.json": 1, "put_if_absent final.json": 1} == asked
    else:
        # Which tells of manifest and end alike.
        assert {"list ": 1, "put final.json": 1} == asked
    assert is_ended(world, job)
    assert world.jobs.final(job.job_id).outcome is not None


def test_a_small_job_of_several_shards_is_one_write_a_shard_and_an_end(world: Any) -> None:
    job = world.submit_small([ITEMS[:2], ITEMS[2:5]])

    assert ["ok", "ok"] == world.service.run_bundle(messages(job))

    final = world.jobs.final(job.job_id)
    assert ("SUCCEEDED", 2, 5, None) == (
        final.state,
        final.shards_ok,
        final.items_ok,
        final.outcome,
    )
    np.testing.assert_array_equal(world.row_sums(ITEMS[2:5]), probabilities(world, job, 1))
    assert [] == list(world.objects.list(f"{keys.JobKeys(job.job_id).prefix}data/"))


def test_a_result_that_is_not_small_becomes_an_object(world: Any) -> None:
    items = np.ones((9000, 3), np.float32)
    spec = ShardInput(objects=[world.stored("inputs/items.npy", to_npy(items))], item_count=9000)
    world.submit(shards=[spec], schema_version=2)

    assert "ok" == world.run()

    data = world.outcome().data
    assert data.inline is None
    assert data.size_bytes == len(world.objects.get(data.key).data)


def test_a_delivery_long_after_the_end_changes_nothing(world: Any) -> None:
    (job,) = submit(world, 1)
    world.service.run(message_of(job, 0))
    final, outcome = world.jobs.final(job.job_id), world.jobs.outcome(job.job_id, 0)

    # while Redis says that the job ended, one look at the store is enough for all of them
    look = {"get final.json": 1}
    assert look == world.requests(lambda: world.service.run(message_of(job, 0)))
    assert {} == world.requests(lambda: world.service.run(message_of(job, 0)))
    world.advance(3600)
    world.service.run(message_of(job, 0))

    assert (final, outcome) == (world.jobs.final(job.job_id), world.jobs.outcome(job.job_id, 0))
    assert "ended" == world.service.run(message_of(job, 0))


@pytest.mark.parametrize("inline", [True, False], ids=["small", "in objects"])
def test_a_second_submitter_of_a_key_has_no_end_written_again(world: Any, *, inline: bool) -> None:
    # given an ended job under a caller's key
    ref = ObjectRef.of("inputs/0.npy", to_npy(ITEMS[:1]), inline=inline)
    world.objects.put(ref.key, to_npy(ITEMS[:1]))
    job = world.submit(
        job_id="orders-1",
        schema_version=2 if inline else 1,
        shards=[ShardInput(objects=[ref], item_count=1)],
    )
    message = ShardMessage(job_id="orders-1", shard=0)
    assert "ok" == world.service.run(message)
    kept = [info.key for info in world.objects.list("jobs/orders-1/") if "/data/" not in info.key]
    before = {key: world.objects.get(key).data for key in kept}
    # Until Redis has forgotten it.
    world.advance(10_000)

    # when a submitter that had not found it submits it again, and the message comes again
    world.coordination.open_job("orders-1", new=True)
    world.service.run(message)

    # then
    assert before == {key: world.objects.get(key).data for key in kept}
    assert is_ended(world, job)


# Together.


def test_a_bundle_is_one_call_of_the_model(world: Any) -> None:
    jobs = submit(world, 4)

    assert ["ok"] * 4 == world.service.run_bundle(messages(*jobs))

    assert [4] == [len(tile) for tile in world.engine.tiles]
    assert all(is_ended(world, job) for job in jobs)
    stages = [event for event in world.heard if isinstance(event, StageEnded)]
    assert [(Stage.FETCH, 4), (Stage.WAIT, 4), (Stage.PREDICT, 4), (Stage.COMMIT, 4)] == [
        (event.stage, event.shard_count) for event in stages
    ]
    finished = [event for event in world.heard if isinstance(event, ShardFinished)]
    assert [job.job_id for job in jobs] == [event.job_id for event in finished]


def test_redis_is_asked_a_few_times_for_a_whole_bundle(world: Any) -> None:
    jobs = submit(world, 30)
    asked: Counter[str] = Counter()
    for name in ("begin", "decide_ends", "end_jobs", "mark_done", "hold_job_lease"):
        method = getattr(world.coordination, name)

        def call(*args: Any, name: str = name, method: Any = method, **kwargs: Any) -> Any:
            asked[name] += 1
            return method(*args, **kwargs)

        setattr(world.coordination, name, call)

    world.service.run_bundle(messages(*jobs))

    decided = 0 if world.objects.conditional_writes else 4
    assert +Counter({"begin": 1, "decide_ends": decided, "end_jobs": 1}) == asked


def test_jobs_of_a_bundle_end_independently(world: Any) -> None:
    # given jobs that are cancelled, done, of another shape, expired, and unknown
    good, cancelled, done = (world.submit_small([ITEMS[n : n + 1]]) for n in range(3))
    broken = world.submit_small(
        [ITEMS[3:4]], inputs=[InputTensor(name="inputs", dtype="float32", shape=[4])]
    )
    late = world.submit_small([ITEMS[4:5]], deadline=good.created_at)
    world.jobs.finish(cancelled, "CANCELLED", "enough")
    world.coordination.end_jobs({cancelled.job_id: "CANCELLED"})
    world.service.run(message_of(done, 0))
    world.advance(1)
    unknown = ShardMessage(job_id="nobody", shard=0)

    results = world.service.run_bundle([*messages(good, cancelled, done, broken, late), unknown])

    assert ["ok", "ended", "ended", "failed", "expired", "ended"] == results
    assert is_ended(world, good)
    assert "EXPIRED" == world.jobs.final(late.job_id).state
    assert "FAILED" == world.jobs.final(broken.job_id).state


def test_a_bad_input_among_good_ones_dies_alone(world: Any) -> None:
    jobs = submit(world, 3)
    bad = ObjectRef.of("inline/x.npy", b"no array", inline=True)
    broken = world.submit_small([], shards=[ShardInput(objects=[bad], item_count=1)])

    results = world.service.run_bundle(messages(jobs[0], broken, *jobs[1:]))

    assert ["ok", "dead", "ok", "ok"] == results
    assert all(is_ended(world, job) for job in jobs)
    outcome = world.jobs.outcome(broken.job_id, 0)
    assert ("dead", "input") == (outcome.status, outcome.reason)
    assert "not a readable .npy file" in outcome.detail
    assert "FAILED" == world.jobs.final(broken.job_id).state


def test_a_damaged_end_among_good_jobs_keeps_none_of_them_from_ending(world: Any) -> None:
    jobs = submit(world, 12)
    damaged = jobs[3]
    world.objects.put(keys.JobKeys(damaged.job_id).final, b"{}")

    results = world.service.run_bundle(messages(*jobs))

    assert ["ended" if job is damaged else "ok" for job in jobs] == results
    assert all(is_ended(world, job) for job in jobs if job is not damaged)
    assert b"{}" == world.objects.get(keys.JobKeys(damaged.job_id).final).data


def test_inline_bytes_that_are_not_what_the_manifest_says_are_a_dead_input(world: Any) -> None:
    whole = ObjectRef.of("inline/0.npy", to_npy(ITEMS[:1]), inline=True)
    for change, why in (
        ({"sha256": "0" * 64}, "does not match its sha256"),
        ({"size_bytes": 7}, "bytes and 7 were recorded"),
        ({"inline": "?"}, "not base64"),
    ):
        spec = ShardInput(objects=[whole.model_copy(update=change)], item_count=1)
        job = world.submit_small([], shards=[spec])

        assert "dead" == world.service.run(message_of(job, 0))

        assert why in world.jobs.outcome(job.job_id, 0).detail


def test_a_nan_among_its_items_is_an_item_error(world: Any) -> None:
    items = ITEMS[:3].copy()
    items[1, 0] = np.nan
    job, other = world.submit_small([items]), world.submit_small([ITEMS[:1]])

    assert ["ok", "ok"] == world.service.run_bundle(messages(job, other))

    final = world.jobs.final(job.job_id)
    assert ("PARTIAL", 2, 1) == (final.state, final.items_ok, final.items_failed)
    assert [1] == [error.index for error in final.outcome.item_errors]
    assert np.isnan(probabilities(world, job)[1]).all()
    np.testing.assert_array_equal(world.row_sums(items[2:]), probabilities(world, job)[2:])


def test_a_bundle_of_nothing_but_bad_items_is_not_predicted(world: Any) -> None:
    bad = np.full((1, 3), np.nan, np.float32)
    jobs = [world.submit_small([bad]) for _ in range(2)]

    assert ["ok", "ok"] == world.service.run_bundle(messages(*jobs))

    assert [] == world.engine.tiles
    assert [1, 1] == [world.jobs.final(job.job_id).items_failed for job in jobs]


def test_models_of_a_bundle_are_not_mixed_up(world: Any) -> None:
    one = world.submit_small([ITEMS[:1]])
    other = world.submit_small([ITEMS[1:2]], model=world.publish("n", b"other").pin)

    assert ["ok", "ok"] == world.service.run_bundle(messages(one, other))

    assert {"m:1", "n:1"} == set(world.engine.builds)
    assert is_ended(world, one)
    assert is_ended(world, other)


def test_a_bundle_that_the_model_fails_over_is_tried_one_by_one(world: Any) -> None:
    # given a model that takes one row at a time
    jobs = submit(world, 3)
    real = world.engine.answer

    def predict(tile: np.ndarray) -> np.ndarray:
        if np.count_nonzero(tile.any(axis=1)) > 1:
            raise PredictionError("one at a time")
        return real(tile)

    world.engine.answer = predict

    world.service.run_bundle(messages(*jobs))

    assert all(is_ended(world, job) for job in jobs)


def test_a_shard_begun_before_is_not_bundled(world: Any) -> None:
    # given a shard whose worker died
    jobs = submit(world, 3)
    world.coordination.begin([Claim(jobs[1].job_id, 0, "died")], lease_s=1)
    world.advance(2)

    assert ["ok"] * 3 == world.service.run_bundle(messages(*jobs))

    assert 3 == len(world.engine.tiles)
    assert 2 == world.jobs.outcome(jobs[1].job_id, 0).attempts
    assert 2 == world.jobs.final(jobs[1].job_id).attempts


def test_leases_of_a_whole_bundle_are_renewed(world: Any, wait_until: Callable[..., None]) -> None:
    world.service = world.new_service("worker-1", lease_s=0.05)
    jobs = submit(world, 3)
    renewed: set[str] = set()
    real_renew, real_predict = world.coordination.renew, world.engine.answer

    def renew(claims: Sequence[Claim], *, lease_s: float) -> None:
        renewed.update(claim.job_id for claim in claims)
        real_renew(claims, lease_s=lease_s)

    def predict(tile: np.ndarray) -> np.ndarray:
        wait_until(lambda: len(renewed) == 3)
        return real_predict(tile)

    world.coordination.renew, world.engine.answer = renew, predict

    world.service.run_bundle(messages(*jobs))

    assert {job.job_id for job in jobs} == renewed


def test_out_of_memory_ends_a_bundle_too(world: Any) -> None:
    world.engine.predict_error = MemoryError("device")

    with pytest.raises(MemoryError):
        world.service.run_bundle(messages(*submit(world, 2)))


def test_a_device_lost_over_a_bundle_counts_an_attempt_of_each_shard_and_no_more(
    world: Any,
) -> None:
    jobs = submit(world, 3)
    world.engine.predict_error = DeviceLostError("CUDA_ERROR_LAUNCH_FAILED")

    assert ["deferred"] * 3 == world.service.run_bundle(messages(*jobs))

    assert [1] * 3 == [world.attempts(job_id=job.job_id) for job in jobs]
    assert ["lost"] == world.lost


# Forged and stale messages.


def forged(job: JobManifest, **changes: object) -> ShardMessage:
    """A message with the job's id and another manifest, signed."""
    text = job.model_copy(update=changes).to_json()
    return ShardMessage(
        schema_version=JOB_VERSION,
        job_id=job.job_id,
        shard=0,
        manifest=text.decode(),
        hmac=TEST_KEYS.sign("manifest", job.job_id, text),
    )


def test_a_forged_manifest_is_not_what_is_computed(world: Any) -> None:
    (job,) = submit(world, 1)
    other = ShardInput(
        objects=[ObjectRef.of("inline/0.npy", to_npy(ITEMS[50:51]), inline=True)], item_count=1
    )

    assert "ok" == world.service.run(forged(job, shards=Shards([other])))

    # then the stored one is
    assert is_ended(world, job)


def test_a_carried_manifest_is_trusted_only_for_a_job_that_redis_knows(
    world: Any,
) -> None:
    # given a manifest that was never stored, under the id of its content
    (stored,) = submit(world, 1)
    job = with_content_id(stored.model_copy(update={"nonce": "never stored"})).manifest

    assert "ended" == world.service.run(message_of(job, 0))

    assert [] == list(world.objects.list(keys.JobKeys(job.job_id).prefix))
    # and Redis keeps nothing of it
    assert job.job_id not in world.coordination._memory.jobs


def test_after_redis_was_wiped_the_store_is_asked(world: Any) -> None:
    load_model(world)
    jobs = submit(world, 2)
    carried = messages(*jobs)
    world.coordination.flush()

    asked = world.requests(lambda: world.service.run_bundle(carried))

    # whether it exists, what it says, and whether it still exists before the end
    assert 2 * 3 == asked["get manifest.json"]
    assert all(is_ended(world, job) for job in jobs)


def test_a_message_of_a_purged_job_brings_nothing_back(world: Any) -> None:
    (job,) = submit(world, 1)
    carried = message_of(job, 0)
    world.service.run(carried)
    world.jobs.delete(job.job_id)
    world.advance(3600)

    assert "ended" == world.service.run(carried)

    assert [] == list(world.objects.list(keys.JobKeys(job.job_id).prefix))


# Ends that race.


def test_a_cancel_that_comes_first_stands(world: Any) -> None:
    (job,) = submit(world, 1)

    def cancel(operation: str, key: str) -> None:
        if key.endswith("final.json") and operation.startswith("put"):
            world.objects.before = lambda _operation, _key: None
            world.jobs.finish(job, "CANCELLED", "enough")

    world.objects.before = cancel

    world.service.run(message_of(job, 0))

    # then, if both may write, both write the end that was decided first
    state = "CANCELLED" if world.objects.conditional_writes else "SUCCEEDED"
    assert state == world.jobs.final(job.job_id).state
    assert state == world.coordination._memory.ended[job.job_id]


@UNCONDITIONAL
def test_an_end_that_was_decided_before_is_the_one_that_is_written(world: Any) -> None:
    # given a cancel that was decided, but not written yet
    (job,) = submit(world, 1)
    written: list[bytes] = []
    real = world.coordination.decide_ends

    def decide_ends(ends: dict[str, bytes], **options: bool) -> dict[str, bytes]:
        decided = real(ends, **options)
        world.coordination.decide_ends = real
        world.service.run(message_of(job, 0))
        written.append(world.objects.get(keys.JobKeys(job.job_id).final).data)
        return decided

    world.coordination.decide_ends = decide_ends

    world.jobs.finish(job, "CANCELLED", "enough")

    assert [world.objects.get(keys.JobKeys(job.job_id).final).data] == written
    assert "CANCELLED" == world.jobs.final(job.job_id).state


def test_redis_wiped_before_the_end_leaves_that_to_the_outcome(world: Any) -> None:
    (job,) = submit(world, 1)
    real = world.engine.answer

    def predict(tile: np.ndarray) -> np.ndarray:
        world.coordination.flush()
        return real(tile)

    world.engine.answer = predict

    assert "ok" == world.service.run(message_of(job, 0))

    assert "SUCCEEDED" == world.jobs.final(job.job_id).state
    if not world.objects.conditional_writes:
        # Now only the store knows whether the job has another end.
        assert world.jobs.final(job.job_id).outcome is None


def test_an_attempt_whose_lease_ran_out_looks_before_it_commits(
    world: Any, wait_until: Callable[..., None]
) -> None:
    # given an attempt that stood still until another one had finished
    (job,) = submit(world, 1)
    service, began_s = world.new_service("worker-1", lease_s=0.03), time.monotonic()
    real = world.engine.answer

    def predict(tile: np.ndarray) -> np.ndarray:
        world.engine.answer = real
        world.advance(1)
        wait_until(lambda: time.monotonic() > began_s + 0.1)
        other = world.coordination.begin([Claim(job.job_id, 0, "other")], lease_s=60)[0]
        assert "begun" == other.status
        world.jobs.commit(
            ShardOutcome(
                schema_version=2,
                job_id=job.job_id,
                shard=0,
                status="ok",
                attempt="other",
                data=ObjectRef.of("data", to_npy(world.row_sums(ITEMS[:1])), inline=True),
                item_count=1,
                model_sha256=job.model.sha256,
                worker="worker-2",
                began_at=now(),
                committed_at=now(),
            )
        )
        return real(tile)

    world.coordination.renew = lambda *_, **__: None
    world.engine.answer = predict

    assert "ok" == service.run(message_of(job, 0))

    assert "other" == world.jobs.outcome(job.job_id, 0).attempt
    assert world.jobs.final(job.job_id).outcome is None


# Failures.


def test_a_store_that_is_away_is_asked_once_a_thread_for_a_bundle(world: Any) -> None:
    load_model(world)
    jobs = submit(world, 10)
    asked: list[str] = []

    def away(operation: str, key: str) -> None:
        asked.append(f"{operation} {key}")
        raise StoreUnavailableError("503")

    world.objects.before = away

    assert ["deferred"] * 10 == world.service.run_bundle(messages(*jobs))

    assert len(asked) <= READ_THREADS
    world.objects.before = lambda _operation, _key: None
    assert [0] * 10 == [world.attempts(job_id=job.job_id) for job in jobs]


def test_a_deferred_small_job_is_done_later(world: Any) -> None:
    jobs = submit(world, 3)

    def fail_once(operation: str, key: str) -> None:
        if operation.startswith("put") and jobs[1].job_id in key:
            world.objects.before = lambda _operation, _key: None
            raise StoreUnavailableError("503")

    world.objects.before = fail_once

    world.service.run_bundle(messages(*jobs))
    world.advance(world.lease_s + 1)
    world.service.run_bundle(messages(*jobs))

    assert all(is_ended(world, job) for job in jobs)


def test_a_broker_that_is_away_defers_a_bundle(world: Any) -> None:
    jobs = submit(world, 2)

    def away(*_: object, **__: object) -> None:
        raise BrokerError("away")

    world.coordination.begin = away

    assert ["deferred", "deferred"] == world.service.run_bundle(messages(*jobs))


def test_a_broker_that_is_lost_before_it_hears_of_the_end_changes_nothing(world: Any) -> None:
    (job,) = submit(world, 1)
    real = world.coordination.end_jobs

    def away(_states: object) -> None:
        world.coordination.end_jobs = real
        raise BrokerError("away")

    world.coordination.end_jobs = away

    world.service.run(message_of(job, 0))

    final = world.jobs.final(job.job_id)
    assert "SUCCEEDED" == final.state
    world.advance(world.lease_s + 1)
    assert "done" == world.service.run(message_of(job, 0))
    assert (final, "SUCCEEDED") == (
        world.jobs.final(job.job_id),
        world.coordination._memory.ended[job.job_id],
    )
    assert [] == list(world.objects.list(keys.JobKeys(job.job_id).outcomes_prefix))


@pytest.mark.parametrize("step", ["manifest.json", "outcome", "final.json"])
def test_redis_wiped_at_any_step_loses_no_small_job(world: Any, step: str) -> None:
    jobs = [*submit(world, 2), world.submit_small([ITEMS[:1], ITEMS[1:2]])]
    world.wipe_redis_at(step)
    world.service.run_bundle(messages(*jobs))

    # when the reconciler's messages are done
    reconciler = world.new_reconciler()
    for _ in range(3):
        world.advance(100)
        reconciler.round()
        while world.queue:
            world.service.run(world.queue.pop(0))

    assert ["SUCCEEDED"] * 3 == [world.jobs.final(job.job_id).state for job in jobs]


def test_a_message_from_before_keys_still_ends_its_job(world: Any) -> None:
    job = submit(world, 1)[0]
    text = job.to_json().decode()

    world.service.run(ShardMessage(schema_version=3, job_id=job.job_id, shard=0, manifest=text))

    assert "SUCCEEDED" == world.jobs.final(job.job_id).state


def test_keys_are_rotated_while_messages_wait(world: Any) -> None:
    # given messages signed by the old key
    old = DeploymentKeys([bytes([1]) * 32])
    load_model(world)
    jobs = submit(world, 3)
    carried = [message_for(job, 0, deployment_keys=old) for job in jobs]
    rotation = [[1, 2], [2, 1], [2]]

    # when workers have the new one too, then first, then alone
    asked = []
    for message, numbers in zip(carried, rotation, strict=True):
        world.use_keys(DeploymentKeys([bytes([number]) * 32 for number in numbers]))
        asked.append(world.requests(lambda run=message: world.service.run(run)))

    # then all run, the last one by the manifest in the store
    assert all(is_ended(world, job) for job in jobs)
    looks = 1 if world.objects.conditional_writes else 0
    assert [looks, looks, looks + 1] == [requests["get manifest.json"] for requests in asked]
