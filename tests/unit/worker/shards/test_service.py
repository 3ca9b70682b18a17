"""One shard from message to committed outcome, whatever fails around it."""

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fornada import keys
from fornada.coordination.interface import Claim
from fornada.errors import (
    BrokerError,
    ConfigError,
    DeviceLostError,
    FornadaError,
    LocalDiskError,
    MissingExtraError,
    ModelRefusedError,
    ModelUnusableError,
    PredictionError,
    StoreAccessError,
    StoreUnavailableError,
)
from fornada.events import (
    Event,
    Events,
    JobEnded,
    ShardDeferred,
    ShardFinished,
    Stage,
    StageEnded,
    TileComputed,
)
from fornada.formats.npy import to_npy
from fornada.jobs.shard_inputs import ShardInput
from fornada.queue.message import ShardMessage
from fornada.records import ObjectRef, now
from fornada.tensors import ImagePreprocessing, InputTensor

from ....arrays import stored_rows

ITEMS = np.arange(30, dtype=np.float32).reshape(10, 3)


def _when(operation: str, key_part: str, error: Exception) -> Callable[[str, str], None]:
    """A hook that raises `error` for operations on keys with `key_part`."""

    def before(done: str, key: str) -> None:
        if done == operation and key_part in key:
            raise error

    return before


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


# A shard that succeeds.


def test_the_outcome_is_committed_with_the_probabilities_of_every_item(world: Any) -> None:
    world.submit([ITEMS])
    before = now()

    assert "ok" == world.run()

    outcome = world.outcome()
    np.testing.assert_array_equal(world.row_sums(ITEMS), world.data())
    assert ("ok", 10, [], None) == (
        outcome.status,
        outcome.item_count,
        outcome.item_errors,
        outcome.reason,
    )
    assert ("worker-1", "fake 1", 4) == (outcome.worker, outcome.engine, outcome.tile_items)
    assert outcome.data.key == keys.JobKeys("job").data(0, outcome.attempt)
    assert before <= outcome.began_at <= outcome.committed_at <= now()


def test_the_last_shard_finishes_the_job(world: Any) -> None:
    # given a job of three shards
    world.submit([ITEMS[:4], ITEMS[4:8], ITEMS[8:]])

    # when they run in any order
    world.run(2)
    world.run(0)
    assert world.jobs.final("job") is None
    world.run(1)

    # then its end has counts and a digest of all of them
    final = world.jobs.final("job")
    lines = "".join(f"{s} ok {world.outcome(s).data.sha256} - []\n" for s in range(3))
    assert ("SUCCEEDED", 3, 0, 0) == (
        final.state,
        final.shards_ok,
        final.shards_dead,
        final.shards_missing,
    )
    assert (10, 0, [[0, 2]]) == (final.items_ok, final.items_failed, final.outcome_ranges)
    assert hashlib.sha256(lines.encode()).hexdigest() == final.outcomes_sha256
    assert max(world.outcome(s).committed_at for s in range(3)) == final.last_outcome_at


def test_listeners_hear_of_a_shard_from_its_input_to_the_end_of_its_job(world: Any) -> None:
    manifest = world.submit([ITEMS])

    world.run()

    outcome, heard = world.outcome(), world.heard
    kinds = [type(event).__name__ for event in heard if not isinstance(event, TileComputed)]
    told = ["ShardFinished", "ClassesPredicted", "JobEnded"]
    assert ["ModelLoaded", *["StageEnded"] * 5, *told] == kinds
    stages = [event for event in heard if isinstance(event, StageEnded)]
    assert [Stage.FETCH, Stage.WAIT, Stage.PREDICT, Stage.PUT, Stage.COMMIT] == [
        e.stage for e in stages
    ]
    assert {(1, 10)} == {(event.shard_count, event.item_count) for event in stages}
    assert outcome.predict_s == stages[1].duration_s + stages[2].duration_s
    tiles = [event for event in heard if isinstance(event, TileComputed)]
    assert [(4, 4), (4, 4), (2, 4)] == [(event.row_count, event.tile_items) for event in tiles]
    assert manifest.model == tiles[0].model
    assert JobEnded(job_id="job", state="SUCCEEDED") == heard[-1]


def test_a_listener_that_fails_breaks_no_shard(world: Any) -> None:
    def fail(_event: Event) -> None:
        raise ZeroDivisionError

    world.events = Events(fail)
    world.service = world.new_service("worker-1")
    world.submit([ITEMS])

    assert "ok" == world.run()


def test_data_is_stored_before_the_outcome(world: Any) -> None:
    written: list[str] = []
    world.submit([ITEMS])
    world.objects.before = lambda done, key: written.append(key) if "put" in done else None

    world.run()

    assert ["data", "outcome", "final.json"] == [key.split("/")[2] for key in written]


def test_a_second_delivery_does_not_predict_again(world: Any) -> None:
    world.submit([ITEMS, ITEMS])
    world.run(0)
    first, tile_count = world.outcome(), len(world.engine.tiles)

    assert "done" == world.run(0)
    assert (first, tile_count) == (world.outcome(), len(world.engine.tiles))

    # and the same once the job has ended
    world.run(1)
    assert "ended" == world.run(0)
    assert (first, 2 * tile_count) == (world.outcome(), len(world.engine.tiles))


def test_a_shard_that_another_worker_holds_is_left_to_it_while_it_shows_life(world: Any) -> None:
    world.submit([ITEMS])
    world.coordination.begin([Claim("job", 0, "theirs")], lease_s=world.lease_s)

    assert "leased" == world.run()
    assert world.jobs.outcome("job", 0) is None

    world.advance(world.lease_s + 1)
    assert "ok" == world.run()


# Messages without a shard.


def test_a_message_without_a_readable_manifest_or_a_shard_is_dropped(world: Any) -> None:
    manifest = world.submit([ITEMS])
    without_zone = manifest.to_json().replace(b'"tags"', b'"deadline":"2026-01-01T00:00:00","tags"')
    world.objects.put(keys.JobKeys("without-zone").manifest, without_zone)
    world.objects.put(keys.JobKeys("unreadable").manifest, b'{"schema_version": 2}')

    for shard, job_id in (
        (0, "nobody"),
        (1, "job"),
        (3_999_999, "job"),
        (0, "unreadable"),
        (0, "without-zone"),
    ):
        assert "ended" == world.run(shard, job_id), (shard, job_id)
    assert set() == world.jobs.outcome_shards("job")


# Jobs that are over.


def test_a_cancelled_job_is_not_begun(world: Any) -> None:
    manifest = world.submit([ITEMS])
    world.jobs.finish(manifest, "CANCELLED", "enough")
    world.coordination.end_jobs({"job": "CANCELLED"})

    assert "ended" == world.run()

    assert [] == world.engine.tiles


def test_a_job_past_its_deadline_ends_expired_and_keeps_what_is_done(world: Any) -> None:
    world.submit([ITEMS, ITEMS], deadline_s=60)
    world.advance(60)
    assert "ok" == world.run(0)
    world.advance(1)

    assert "expired" == world.run(1)

    final = world.jobs.final("job")
    assert ("EXPIRED", 1, 1, [[0, 0]]) == (
        final.state,
        final.shards_ok,
        final.shards_missing,
        final.outcome_ranges,
    )
    assert "the deadline 2026-01-01T00:01:00Z passed" == final.reason
    assert "ended" == world.run(1)


def test_a_late_duplicate_does_not_expire_a_job_that_was_done_in_time(world: Any) -> None:
    # given a job whose shards all have outcomes, and whose end was lost with worker and Redis
    world.submit([ITEMS], deadline_s=60)
    world.commit(0)
    world.coordination.flush()
    world.advance(61)

    # when a message comes again after the deadline
    world.run()

    assert "SUCCEEDED" == world.jobs.final("job").state


# Attempts.


def test_a_shard_begun_too_often_is_dead_with_the_last_failure(world: Any) -> None:
    # given a shard that failed each of its three attempts
    world.submit([ITEMS], max_attempts=3)
    for number in range(3):
        world.engine.predict_error = ZeroDivisionError(f"failure {number}")
        assert "deferred" == world.run()
        world.advance(world.lease_s + 1)

    # when it comes again, and dies in a process of its own too
    tiles = len(world.engine.tiles)
    assert "dead" == world.run()

    # then it is dead, nothing was predicted, and the job ended
    outcome, final = world.outcome(), world.jobs.final("job")
    assert ("dead", "crash-loop", None) == (outcome.status, outcome.reason, outcome.data)
    assert (
        "begun 3 times without an outcome; the last error was ZeroDivisionError: failure 2; in a "
        "process of its own: a process died over every item; the last: signal 9" == outcome.detail
    )
    assert tiles == len(world.engine.tiles)
    assert ("FAILED", 1, 10) == (final.state, final.shards_dead, final.items_failed)
    assert "failure 2" in final.reason


def _die(world: Any, *, times: int) -> None:
    """Begin shard 0 as workers do that die at once."""
    for number in range(times):
        world.coordination.begin([Claim("job", 0, f"died-{number}")], lease_s=world.lease_s)
        world.advance(world.lease_s + 1)


def test_a_shard_whose_workers_die_is_dead_in_the_end(world: Any) -> None:
    world.submit([ITEMS], max_attempts=2)
    _die(world, times=2)

    assert "dead" == world.run()

    assert world.outcome().detail.startswith(
        "begun 2 times without an outcome; its worker died each time; in a process of its own: "
    )


def test_a_shard_whose_workers_die_is_predicted_alone_but_for_the_item_that_kills(
    world: Any,
) -> None:
    # given workers that died over a shard, one item of which kills
    world.submit([ITEMS], max_attempts=1)
    _die(world, times=1)
    world.isolate_over(3)

    assert "ok" == world.run()

    outcome = world.outcome()
    assert (True, 2, "isolated", 4) == (
        outcome.isolated,
        outcome.attempts,
        outcome.engine,
        outcome.tile_items,
    )
    assert [3] == [error.index for error in outcome.item_errors]
    assert "its worker died over it: signal 9" == outcome.item_errors[0].reason
    (predicted,) = outcome.figures.predicted.values()
    assert len(ITEMS) - 1 == predicted.item_count
    assert [3] == list(np.flatnonzero(np.isnan(stored_rows(world.jobs, outcome)).all(axis=1)))
    assert "PARTIAL" == world.jobs.final("job").state


def test_a_shard_that_no_process_survives_is_dead_without_another_try(world: Any) -> None:
    # given workers that died over it, even while isolating it
    world.submit([ITEMS], max_attempts=1)
    _die(world, times=3)
    for attempt in ("died-1", "died-2"):
        world.jobs.note_isolated("job", 0, attempt)
    world.isolate_over()

    assert "dead" == world.run()

    assert "begun 3 times without an outcome; its worker died each time" == world.outcome().detail


def test_an_unexpected_error_is_counted_and_the_shard_tried_again_after_its_lease(
    world: Any,
) -> None:
    world.submit([ITEMS])
    world.engine.predict_error = RuntimeError("who knows")

    assert "deferred" == world.run()
    assert "RuntimeError: who knows" == world.coordination.last_error("job", 0)
    assert world.jobs.final("job") is None

    world.engine.predict_error = None
    assert "leased" == world.run()
    assert 1 == world.attempts()
    assert "ok" == world.run()


STEPS = [
    ("get", "manifest.json"),
    ("get", "/input/"),
    ("put", "/data/"),
    ("put_if_absent", "/outcome/"),
]


@pytest.mark.parametrize(("operation", "key_part"), STEPS)
def test_a_store_that_fails_for_a_while_defers_without_counting(
    world: Any, operation: str, key_part: str
) -> None:
    # given a store that fails at one step, more often than attempts are allowed
    world.submit([ITEMS], max_attempts=1)
    world.objects.before = _when(operation, key_part, StoreUnavailableError("503"))
    for _ in range(3):
        assert "deferred" == world.run()
        assert world.jobs.outcome_shards("job") == set()
        assert 0 == world.attempts()

    # when the store is back
    world.objects.before = lambda _operation, _key: None

    # then no attempt was counted
    assert "ok" == world.run()
    assert "SUCCEEDED" == world.jobs.final("job").state


def test_a_store_that_fails_at_the_end_loses_no_outcome(world: Any) -> None:
    # given a store that fails when the job's end is written
    world.submit([ITEMS])
    world.objects.before = _when("put_if_absent", "final.json", StoreUnavailableError("503"))
    assert "deferred" == world.run()
    committed = world.outcome()

    # when the store is back, and the reconciler looks
    world.objects.before = lambda _operation, _key: None
    world.advance(world.lease_s + 1)
    world.new_reconciler().round()

    assert committed == world.outcome()
    assert "SUCCEEDED" == world.jobs.final("job").state


def test_an_answer_lost_after_the_commit_changes_nothing(world: Any) -> None:
    # given a store that writes the outcome, and then fails to answer
    world.submit([ITEMS])
    real = world.objects.put_if_absent

    def write_and_fail(key: str, data: bytes) -> bool:
        real(key, data)
        raise StoreUnavailableError("reset")

    world.objects.put_if_absent = write_and_fail
    assert "deferred" == world.run()
    first = world.outcome()

    # when the shard runs again
    world.objects.put_if_absent = real
    world.advance(world.lease_s + 1)
    assert "ok" == world.run()

    assert first == world.outcome()
    assert "SUCCEEDED" == world.jobs.final("job").state


@pytest.mark.parametrize(
    "error",
    [
        ModelRefusedError("code that is not allowed here"),
        ConfigError("it cannot be imported here"),
        MissingExtraError("not installed here"),
        LocalDiskError("full"),
        StoreAccessError("not for you"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_model_that_this_worker_cannot_load_is_left_to_another(
    world: Any, error: FornadaError
) -> None:
    world.submit([ITEMS, ITEMS], max_attempts=1)
    world.engine.build_error = error

    # when this worker takes both shards, again and again
    for _ in range(3):
        assert ["given back", "given back"] == [world.run(0), world.run(1)]

    # then it tried once, counted nothing, holds nothing, and said why
    assert 1 == len(world.engine.builds)
    progress = world.coordination.progress("job")
    assert (0, set(), {}) == (progress.attempts, progress.running, dict(progress.enqueued))
    assert {"worker-1": str(error)} == progress.held_up
    assert {"job": {"worker-1": str(error)}} == world.coordination.held_up(["other", "job"])
    assert world.jobs.final("job") is None

    # and one that can load it does the job
    world.engine.build_error = None
    world.advance(300)
    assert ["ok", "ok"] == [world.run(0), world.run(1)]
    assert "SUCCEEDED" == world.jobs.final("job").state


def test_a_store_that_refuses_this_worker_holds_the_job_up_and_does_not_end_it(world: Any) -> None:
    world.submit([ITEMS], max_attempts=1)
    world.objects.before = _when("put", "/data/", StoreAccessError("no permission to write"))

    for _ in range(3):
        assert "given back" == world.run()

    progress = world.coordination.progress("job")
    assert {"worker-1": "no permission to write"} == progress.held_up
    assert (0, set()) == (progress.attempts, progress.running)
    world.objects.before = lambda _operation, _key: None
    assert "ok" == world.run()


@pytest.mark.parametrize("method", ["begin", "mark_done", "end_jobs"])
def test_a_broker_that_fails_at_any_step_loses_nothing(
    world: Any, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a broker that fails at one step, and at the cleanup
    world.submit([ITEMS], max_attempts=1)

    def fail(*_args: object, **_kwargs: object) -> None:
        raise BrokerError("away")

    with monkeypatch.context() as away:
        away.setattr(world.coordination, method, fail)
        away.setattr(world.coordination, "forget_attempt", fail)
        assert "deferred" == world.run()

    # when it is back, and empty
    world.coordination.flush()
    world.new_reconciler().round()
    for message in world.queue:
        world.service.run(message)

    assert "SUCCEEDED" == world.jobs.final("job").state
    np.testing.assert_array_equal(world.row_sums(ITEMS), world.data())


# Wrong input.


def _dead_of_input(world: Any) -> str:
    assert "dead" == world.run()
    outcome = world.outcome()
    assert ("dead", "input", None) == (outcome.status, outcome.reason, outcome.data)
    assert "FAILED" == world.jobs.final("job").state
    return outcome.detail


def _input_key(world: Any) -> str:
    return world.jobs.manifest("job").shards[0].objects[0].key


def test_a_missing_input_is_dead_at_once(world: Any) -> None:
    world.submit([ITEMS])
    world.objects.delete(_input_key(world))

    assert _input_key(world) in _dead_of_input(world)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:-1] + b"\1"])
def test_a_changed_input_is_dead_at_once(world: Any, change: Callable[[bytes], bytes]) -> None:
    world.submit([ITEMS])
    key = _input_key(world)
    world.objects.put(key, change(world.objects.get(key).data))

    assert key in _dead_of_input(world)


@pytest.mark.parametrize(
    ("item_shape", "data", "why"),
    [
        ([3], b"not an array", "npy"),
        ([3], to_npy(ITEMS[:9]), r"\(9, 3\)"),
        ([3], to_npy(ITEMS.astype(np.float64)), "float64"),
        ([3], to_npy(ITEMS.reshape(10, 3, 1, 1)), r"\(10, 3, 1, 1\)"),
        ([3], to_npy(np.float32(1.0)), r"\(\)"),
        ([3], to_npy(ITEMS)[:-8], "truncated"),
        ([2, 3], to_npy(np.zeros((10, 2), np.float32)), r"\(10, 2\)"),
    ],
)
def test_an_input_that_is_not_what_the_manifest_says_is_dead(
    world: Any, item_shape: list[int], data: bytes, why: str
) -> None:
    spec = ShardInput(objects=[world.stored("jobs/job/input/0", data)], item_count=10)
    world.publish(item_shape=item_shape)
    world.submit(shards=[spec])

    assert re.search(why, _dead_of_input(world))


def test_grey_images_fit_with_and_without_the_last_axis(world: Any) -> None:
    parts = [
        world.stored(f"jobs/job/input/{n}", to_npy(a))
        for n, a in enumerate([ITEMS.reshape(10, 3, 1), ITEMS])
    ]
    world.submit(shards=[ShardInput(objects=[part], item_count=10) for part in parts])

    assert ["ok", "ok"] == [world.run(0), world.run(1)]

    np.testing.assert_array_equal(world.data(0), world.data(1))


@pytest.mark.parametrize(("shape", "count"), [("npy", 2), ("image", 3), ("image", 2**31 - 1)])
def test_a_manifest_that_miscounts_its_objects_is_dead_and_takes_no_memory(
    world: Any, shape: str, count: int
) -> None:
    ref = world.stored("jobs/job/input/0", to_npy(ITEMS))
    world.submit(shards=[ShardInput(format=shape, objects=[ref, ref], item_count=count)])

    assert "2 objects" in _dead_of_input(world)


# Wrong items.


def test_items_with_nan_get_nan_and_a_reason_and_the_rest_is_right(world: Any) -> None:
    items = ITEMS.copy()
    items[2, 1], items[7] = np.nan, np.inf
    world.submit([items])

    assert "ok" == world.run()

    expected = world.row_sums(ITEMS)
    expected[[2, 7]] = np.nan
    np.testing.assert_array_equal(expected, world.data())
    assert [2, 7] == [error.index for error in world.outcome().item_errors]
    final = world.jobs.final("job")
    assert ("PARTIAL", 8, 2) == (final.state, final.items_ok, final.items_failed)


def test_a_shard_of_bad_items_alone_is_ok_and_all_nan(world: Any) -> None:
    world.submit([np.full((3, 3), np.nan, np.float32)])

    assert "ok" == world.run()

    assert np.isnan(world.data()).all()
    assert (3, 2) == world.data().shape
    assert [0, 1, 2] == [error.index for error in world.outcome().item_errors]
    assert 3 == world.jobs.final("job").items_failed
    assert [] == world.engine.tiles


def test_one_broken_image_among_good_ones_fails_alone(world: Any) -> None:
    # given images of [1, 3] pixels: good, broken, of another size, gone, changed, good
    pixels = np.array([[1, 2, 3]], np.uint8)
    files = [_png(pixels), b"\x89PNG no", _png(np.zeros((5, 5), np.uint8)), b"", b"", _png(pixels)]
    refs = [world.stored(f"inputs/{n}.png", data) for n, data in enumerate(files)]
    world.objects.delete("inputs/3.png")
    changed = world.objects.get("inputs/5.png")
    world.objects.put("inputs/4.png", changed.data)
    refs[4] = ObjectRef(key="inputs/4.png", size_bytes=len(changed.data), etag='"before"')
    spec = ShardInput(format="image", objects=refs, item_count=6)
    world.publish(item_shape=[1, 3])
    world.submit(shards=[spec])

    assert "ok" == world.run()

    assert [1, 2, 3, 4] == [error.index for error in world.outcome().item_errors]
    for error in world.outcome().item_errors:
        assert f"inputs/{error.index}.png" in error.reason
    np.testing.assert_array_equal(
        np.array([[6, 12], *[[np.nan] * 2] * 4, [6, 12]], np.float32), world.data()
    )


def test_items_that_the_model_fails_on_fail_alone(world: Any) -> None:
    # given items on which a call fails, in two of three shards
    real = world.engine.answer

    def fails(tile: np.ndarray) -> np.ndarray:
        if np.isin(tile[:, 0], ITEMS[[2, 7], 0]).any():
            raise PredictionError("2 is not in [0, 2)")
        return real(tile)

    world.engine.answer = fails
    world.submit([ITEMS[:4], ITEMS[4:8], ITEMS[8:]])

    assert ["ok"] * 3 == [world.run(shard) for shard in range(3)]

    expected = world.row_sums(ITEMS)
    expected[[2, 7]] = np.nan
    np.testing.assert_array_equal(expected, np.concatenate([world.data(s) for s in range(3)]))
    final = world.jobs.final("job")
    assert ("PARTIAL", 8, 2) == (final.state, final.items_ok, final.items_failed)
    assert "2 of 10 items failed; item 2 of shard 0: the model failed on it: 2 is not" in (
        final.reason
    )


def test_nan_and_infinity_in_the_outputs_fail_their_items(world: Any) -> None:
    real = world.engine.answer

    def gives(tile: np.ndarray) -> np.ndarray:
        outputs = real(tile)
        outputs[tile[:, 0] == ITEMS[1, 0], 1] = np.nan
        outputs[tile[:, 0] == ITEMS[3, 0], 0] = np.inf
        return outputs

    world.engine.answer = gives
    world.submit([ITEMS])

    assert "ok" == world.run()

    found = {error.index: error.reason for error in world.outcome().item_errors}
    assert {1: "the model gave NaN", 3: "the model gave infinity"} == found
    assert [1, 3] == list(np.flatnonzero(np.isnan(world.data()).all(axis=1)))


# Wrong models.


@pytest.mark.parametrize(
    "fault",
    [
        {"build_error": ModelUnusableError("no such op")},
        {"predict_error": PredictionError("no such op")},
    ],
    ids=["refused", "cannot predict"],
)
def test_a_model_that_does_not_work_ends_the_job(world: Any, fault: dict[str, Exception]) -> None:
    world.submit([ITEMS, ITEMS])
    vars(world.engine).update(fault)

    assert "failed" == world.run(0)

    final = world.jobs.final("job")
    assert ("FAILED", 2, "model m:1: no such op") == (
        final.state,
        final.shards_missing,
        final.reason,
    )
    assert "ended" == world.run(1)


def test_the_end_of_a_job_is_told_once_whatever_shards_were_begun_before(world: Any) -> None:
    # given shards that were begun together, and a job of the id that is submitted again
    world.engine.build_error = ModelUnusableError("no such op")
    for times_told in (1, 2):
        world.submit([ITEMS] * 3)
        messages = [ShardMessage(job_id="job", shard=shard) for shard in range(3)]

        assert ["failed"] * 3 == world.service.run_bundle(messages)

        assert times_told == sum(isinstance(event, JobEnded) for event in world.heard)
        world.jobs.delete("job")
        world.coordination.flush()


@pytest.mark.parametrize("missing", ["manifest.json", "model.keras"])
def test_a_model_that_is_gone_ends_the_job(world: Any, missing: str) -> None:
    world.submit([ITEMS])
    world.objects.delete(f"models/m/1/{missing}")

    assert "failed" == world.run()

    assert "FAILED" == world.jobs.final("job").state


def test_a_model_with_other_outputs_than_classes_ends_the_job(world: Any) -> None:
    items = ITEMS.copy()
    items[0, 0] = np.nan
    for job_id, part in (("whole", ITEMS), ("gappy", items)):
        world.submit([part], job_id=job_id)
        world.engine.output_count = 3

        assert "failed" == world.run(job_id=job_id)

        assert "(4, 3) for 4 items" in world.jobs.final(job_id).reason


@pytest.mark.parametrize(
    ("shape", "dtype", "why"),
    [
        ([1], "float32", "the job's input has shape [1], and that of model m:1 has [3]; submit it"),
        ([3], "uint8", "the job's input has dtype 'uint8', and that of model m:1 has 'float32'; "),
    ],
)
def test_a_job_whose_items_do_not_fit_the_model_fails(
    world: Any, shape: list[int], dtype: str, why: str
) -> None:
    # given another producer's manifest, and input that fits it
    taken = InputTensor(name="inputs", dtype=dtype, shape=shape)
    data = to_npy(np.ones((2, *shape), dtype))
    spec = ShardInput(objects=[world.stored("jobs/job/input/0", data)], item_count=2)
    world.submit(shards=[spec], inputs=[taken])

    assert "failed" == world.run()

    assert world.jobs.final("job").reason.startswith(why)


@pytest.mark.parametrize("inline", [True, False], ids=["small", "in objects"])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_job_that_names_other_classes_than_its_model_fails(
    world: Any, version: int, *, inline: bool
) -> None:
    # given results that would be read under other names
    if version < (2 if inline else 1):
        return
    changes: dict[str, Any] = {"schema_version": version, "classes": ["b", "a"]}
    if version == 3:
        (given,) = world.publish().outputs
        changes = {"outputs": [given.model_copy(update={"classes": ["b", "a"]})]}
    if inline:
        job = world.submit_small([ITEMS[:1]], **changes)
    else:
        job = world.submit([ITEMS[:1]], **changes)

    assert "failed" == world.run(job_id=job.job_id)

    final = world.jobs.final(job.job_id)
    assert ("FAILED", 0) == (final.state, final.items_ok)
    assert final.reason.startswith("the job's output has classes ['b', 'a'], and that of model m:1")
    assert [] == world.engine.tiles


def test_a_jobs_way_to_resize_images_may_differ_from_its_models(world: Any) -> None:
    (taken,) = world.publish().inputs
    world.submit(inputs=[taken.model_copy(update={"image": ImagePreprocessing(resize="pad")})])

    assert "ok" == world.run()


# Races.


def test_the_outcome_of_the_attempt_that_came_first_holds(world: Any) -> None:
    # given another attempt that commits while this one predicts
    world.submit([ITEMS])
    real = world.engine.answer
    world.engine.answer = lambda tile: (world.commit(0, attempt="theirs"), real(tile))[1]

    # when this one commits
    assert "ok" == world.run()

    assert "theirs" == world.outcome().attempt
    assert "SUCCEEDED" == world.jobs.final("job").state
    # Whoever committed it tells of it, once.
    assert [] == [event for event in world.heard if isinstance(event, ShardFinished)]


@pytest.mark.parametrize("dead_first", [True, False])
def test_dead_and_ok_at_once_leave_one_end(world: Any, dead_first: bool) -> None:  # noqa: FBT001
    world.submit([ITEMS, ITEMS])

    if dead_first:
        world.commit(0, status="dead")
        came = world.run()
    else:
        came = world.run()
        assert "ok" == world.commit(0, status="dead").status

    # With conditional writes the first holds; without, the better.
    expected = "dead" if dead_first and world.objects.conditional_writes else "ok"
    assert expected == world.outcome().status
    assert expected == came


def test_an_attempt_that_is_overtaken_leaves_the_committed_bytes_alone(world: Any) -> None:
    # given an attempt that computes other low bits, and whose lease ran out
    world.submit([ITEMS])
    real, difference = world.engine.answer, [1.0]
    world.engine.answer = lambda tile: real(tile) + np.float32(difference[0])
    came: list[str] = []

    def be_overtaken(done: str, key: str) -> None:
        if done == "put" and "/data/" in key and not came:
            came.append("overtaken")
            difference[0] = 0.0
            world.advance(world.lease_s + 1)
            came.append(world.run(service=world.new_service("worker-2")))

    # when another attempt does the work before this one stores its data
    world.objects.before = be_overtaken
    came.append(world.run())

    # then the committed bytes are stored
    outcome = world.outcome()
    assert ["overtaken", "ok", "ok"] == came
    assert "worker-2" == outcome.worker
    assert to_npy(world.row_sums(ITEMS)) == world.objects.get(outcome.data.key).data


@pytest.mark.parametrize("world", [True], indirect=True, ids=["conditional"])
def test_two_ends_of_a_job_at_once_leave_the_first(world: Any) -> None:
    # given a cancel that comes between this worker's look at the end and its write
    manifest = world.submit([ITEMS])
    ended: list[str] = []

    def cancel(done: str, key: str) -> None:
        if "put" in done and key.endswith("final.json") and not ended:
            ended.append("cancelled")
            world.jobs.finish(manifest, "CANCELLED", "enough")

    world.objects.before = cancel

    assert "ok" == world.run()

    assert ["cancelled"] == ended
    assert "CANCELLED" == world.jobs.final("job").state
    assert {"job": "CANCELLED"} == world.coordination._memory.ended


@pytest.mark.parametrize("world", [False], indirect=True, ids=["unconditional"])
@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=1)], ids=["alike", "ahead"])
def test_two_ends_of_a_job_at_once_are_the_same_without_conditions(
    world: Any, ahead: timedelta
) -> None:
    # given a store on which two that look at the same time both write, and a Redis whose clock may
    # be ahead of theirs
    manifest = world.submit([ITEMS], created_at=now() + ahead)
    written: list[bytes] = []

    def write(key: str, data: bytes) -> bool:
        if key.endswith("final.json"):
            written.append(data)
            if len(written) == 1:
                world.jobs.finish(manifest, "CANCELLED", "enough")
        world.objects.put(key, data)
        return True

    world.objects.put_if_absent = write

    assert "ok" == world.run()

    assert 2 == len(written)
    assert 1 == len(set(written))


@pytest.mark.parametrize("step", ["manifest.json", "/input/", "/data/", "/outcome/", "final.json"])
def test_redis_wiped_at_any_step_loses_nothing(world: Any, step: str) -> None:
    # given Redis wiped while a shard runs
    world.submit([ITEMS, ITEMS])
    wiped = world.wipe_redis_at(step)
    world.run(0)
    world.run(1)

    # when the reconciler's messages are done
    for _ in range(3):
        world.advance(100)
        world.new_reconciler().round()
        while world.queue:
            world.service.run(world.queue.pop())

    # then every shard has its one outcome
    assert wiped
    assert "SUCCEEDED" == world.jobs.final("job").state
    for shard in range(2):
        np.testing.assert_array_equal(world.row_sums(ITEMS), world.data(shard))


# Nothing leaves `run`.


@pytest.mark.parametrize(
    "error",
    [FornadaError("x"), OSError("x"), ValueError("x"), KeyError("x"), AssertionError(), EOFError()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize(("operation", "key_part"), [*STEPS, ("download", "model.keras")])
def test_no_exception_leaves_run(
    world: Any, operation: str, key_part: str, error: Exception
) -> None:
    world.submit([ITEMS])
    world.objects.before = _when(operation, key_part, error)

    assert world.run() in {"deferred", "given back"}


def test_memory_errors_leave_run_so_that_the_process_ends(world: Any) -> None:
    world.submit([ITEMS])
    world.engine.predict_error = MemoryError("device")

    with pytest.raises(MemoryError):
        world.run()

    assert 1 == world.attempts()


def test_a_device_lost_over_a_shard_counts_an_attempt(world: Any) -> None:
    world.submit([ITEMS], max_attempts=2)
    world.engine.predict_error = DeviceLostError("CUDA_ERROR_LAUNCH_FAILED")

    assert "deferred" == world.run()

    assert 1 == world.attempts()
    assert "DeviceLostError: CUDA_ERROR_LAUNCH_FAILED" == world.coordination.last_error("job", 0)

    # and this process, whose end was asked for, counts no more
    world.advance(world.lease_s)
    assert "given back" == world.run()
    assert (1, ["lost"]) == (world.attempts(), world.lost)

    # and once its attempts are used up, the shard is tried in a process of its own
    _die(world, times=1)
    world.isolate_over()
    assert ("ok", True) == (world.run(), world.outcome().isolated)


def test_a_device_that_is_lost_while_a_model_is_loaded_blames_no_shard(world: Any) -> None:
    world.submit([ITEMS], max_attempts=1)
    world.engine.build_error = DeviceLostError("CUDA_ERROR_LAUNCH_FAILED")

    assert ["given back"] * 3 == [world.run() for _ in range(3)]

    progress = world.coordination.progress("job")
    assert (0, set()) == (progress.attempts, progress.running)
    said = "the GPU fails every call (CUDA_ERROR_LAUNCH_FAILED)"
    assert {"worker-1": said} == progress.held_up
    assert ["lost"] == world.lost


def test_a_lease_is_renewed_while_the_shard_runs(
    world: Any, wait_until: Callable[..., None]
) -> None:
    # given a lease far shorter than the shard takes
    world.service = world.new_service("worker-1", lease_s=0.05)
    world.submit([ITEMS])
    renewed: list[object] = []
    real_renew, real_predict = world.coordination.renew, world.engine.answer

    def renew(*args: object, **kwargs: object) -> None:
        renewed.append(args)
        if len(renewed) == 1:
            raise BrokerError("away for a moment")
        real_renew(*args, **kwargs)

    def predict(tile: np.ndarray) -> np.ndarray:
        wait_until(lambda: len(renewed) >= 3)
        return real_predict(tile)

    world.coordination.renew, world.engine.answer = renew, predict

    assert "ok" == world.run()

    # and no longer
    count = len(renewed)
    assert "ended" == world.run()
    assert count == len(renewed)


def test_shards_that_are_deferred_again_and_again_have_one_line(world: Any) -> None:
    world.submit([ITEMS] * 5)
    world.objects.before = _when("put", "/data/", StoreUnavailableError("away"))

    for shard in range(5):
        assert "deferred" == world.run(shard)

    deferred = [event for event in world.heard if isinstance(event, ShardDeferred)]
    assert [1, None, None, None, None] == [event.count for event in deferred]
    assert [True, False] == [event.is_logged for event in deferred[:2]]


def test_a_lease_that_was_given_back_is_not_renewed(
    world: Any, wait_until: Callable[..., None]
) -> None:
    # given a bundle whose first shard is given back, while the second takes long
    world.service = world.new_service("worker-1", lease_s=0.05)
    world.submit([ITEMS], job_id="declined")
    world.submit([ITEMS], job_id="fine", model=world.publish("other", b"other weights").pin)
    renewed: list[str] = []
    real_renew, real_predict = world.coordination.renew, world.engine.answer

    def renew(claims: Sequence[Claim], *, lease_s: float) -> None:
        real_renew(claims, lease_s=lease_s)
        renewed.extend(claim.job_id for claim in claims)

    def predict(tile: np.ndarray) -> np.ndarray:
        renewed.clear()
        wait_until(lambda: len(renewed) >= 2)
        return real_predict(tile)

    def decline() -> None:
        world.engine.on_build = lambda: None
        raise ModelRefusedError("not here")

    world.coordination.renew, world.engine.answer = renew, predict
    world.engine.on_build = decline

    results = world.service.run_bundle(
        [ShardMessage(job_id=job_id, shard=0) for job_id in ("declined", "fine")]
    )

    assert ["given back", "ok"] == results
    assert {"fine"} == set(renewed)
    assert set() == world.coordination.progress("declined").leased


def test_manifests_are_read_once_for_many_shards_and_once_for_the_end(world: Any) -> None:
    world.submit([ITEMS] * 5)
    reads: list[str] = []
    read = world.jobs.manifest
    world.jobs.manifest = lambda job_id: reads.append(job_id) or read(job_id)

    for shard in range(5):
        world.run(shard)

    assert ["job", "job"] == reads
