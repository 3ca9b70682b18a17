"""A submitted job: status, waiting, results, cancelling."""

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest

from fornada import keys
from fornada.coordination.interface import Claim, Progress, ShardEnd
from fornada.errors import (
    BrokerError,
    IntegrityError,
    JobFailedError,
    JobNotFinishedError,
    MessageError,
    WaitTimeoutError,
)
from fornada.formats.npy import to_npy
from fornada.jobs.outcome import JobState, ShardOutcome
from fornada.jobs.shard_inputs import Shards
from fornada.jobs.store import JobStore
from fornada.jobs.summary import summarise
from fornada.records import MAX_SHARDS, ItemError, ObjectRef, now, sha256_hex
from producer.client import Client
from producer.job import Job
from producer.job_reader import DeadShard
from producer.job_status import JobStatus
from producer.testing import in_memory_client

IMAGES = np.arange(10 * 4, dtype=np.uint8).reshape(10, 2, 2)


class _World:
    """A job of ten images in shards of four, four and two, and a worker's hand on its shards."""

    def __init__(self, client: Client, **options: object) -> None:
        self.client = client
        self.jobs: JobStore = client._jobs
        self.job: Job = client.submit(IMAGES, model="m", items_per_shard=4, **options)

    def commit(self, shard: int, *, bad: tuple[int, ...] = (), dead: bool = False) -> ShardOutcome:
        """Commit row number in the job and its square as the probabilities of each item."""
        spec = self.job.manifest.shards[shard]
        first = np.arange(4 * shard, 4 * shard + spec.item_count, dtype=np.float32)
        rows = np.stack([first, first**2], axis=1)
        rows[list(bad)] = np.nan
        data = to_npy(rows)
        key = keys.JobKeys(self.job.id).data(shard, "a")
        self.jobs.objects.put(key, data)
        at = now()
        held = self.jobs.commit(
            ShardOutcome(
                schema_version=self.job.manifest.schema_version,
                job_id=self.job.id,
                shard=shard,
                status="dead" if dead else "ok",
                attempt="a",
                data=None
                if dead
                else ObjectRef(key=key, size_bytes=len(data), sha256=sha256_hex(data)),
                item_count=spec.item_count,
                item_errors=[ItemError(index=index, reason="broken PNG") for index in bad],
                reason="input" if dead else None,
                detail="it was cut off" if dead else None,
                model_sha256=self.job.manifest.model.sha256,
                worker="w",
                began_at=at,
                committed_at=at,
            )
        )
        self.client._coordination.mark_done(
            self.job.id, [ShardEnd(shard, dead=dead, item_errors=len(held.item_errors))]
        )
        return held

    def finish(self, state: str | None = None, reason: str | None = None) -> None:
        final = self.jobs.finish(self.job.manifest, state, reason)
        self.client._coordination.end_jobs({self.job.id: final.state})


@pytest.fixture
def client() -> Client:
    return in_memory_client(model="m", item_shape=[2, 2], classes=["a", "b"], run_at_once=False)


@pytest.fixture
def world(client: Client) -> _World:
    return _World(client)


# Status.


def test_shards_that_redis_invents_are_not_counted(world: _World) -> None:
    world.commit(0)

    world.client._coordination.mark_done(world.job.id, [ShardEnd(3, dead=True), ShardEnd(70_000)])

    status = world.job.status()
    assert (4, 1, 0) == (status.items_done, status.shards_done, status.shards_dead)


def test_a_new_job_is_queued(world: _World) -> None:
    status = world.job.status()

    assert (JobState.QUEUED, 10, 0, 3, 0) == (
        status.state,
        status.items,
        status.items_done,
        status.shards,
        status.shards_done,
    )
    assert f"Job({world.job.id!r})" == repr(world.job)
    assert not status.ended
    assert status.ended_at is status.items_per_s is status.eta_s is None
    assert status.reason is not None
    assert "no worker of queue 'fornada' runs" in status.reason
    assert ("m:1", world.job.manifest.model.sha256) == (status.model, status.model_sha256)


def test_a_job_with_an_outcome_runs_and_tells_its_rate(world: _World) -> None:
    world.commit(2)

    status = world.job.status()

    assert (JobState.RUNNING, 2, 1) == (status.state, status.items_done, status.shards_done)
    assert status.items_per_s > 0
    assert pytest.approx(8 / status.items_per_s) == status.eta_s


def test_an_open_job_tells_what_became_of_its_shards_so_far(world: _World) -> None:
    # given a running shard, and then a dead one
    world.client._coordination.begin([Claim(world.job.id, 1, "b")], lease_s=60)
    assert JobState.RUNNING == world.job.status().state
    world.commit(0, dead=True)

    status = world.job.status()

    assert (1, 1, 1, 1) == (
        status.shards_done,
        status.shards_dead,
        status.shards_running,
        status.shards_queued,
    )
    assert (4, 0, 4, 1) == (
        status.items_done,
        status.items_ok,
        status.items_failed,
        status.attempts,
    )
    assert status.started_at is not None


@pytest.mark.parametrize("lost", ["emptied", "away"])
def test_without_redis_the_store_tells_how_far_a_job_is(
    world: _World, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.commit(0, bad=(1,))
    world.commit(1)
    if lost == "emptied":
        world.client._coordination.flush()
    else:
        monkeypatch.setattr(world.client._coordination, "progress", _away)

    status = world.job.status()

    assert (JobState.RUNNING, 2, 8) == (status.state, status.shards_done, status.items_done)
    # What was in the outcomes is counted when the job ends.
    assert status.items_ok is status.items_failed is status.shards_dead is status.attempts is None


def _away(_job_id: str) -> Progress:
    raise BrokerError("away")


def test_the_dead_say_why(world: _World) -> None:
    expected = DeadShard(
        shard=1, first_item=4, item_count=4, reason="input", detail="it was cut off"
    )
    world.commit(0)
    world.commit(1, dead=True)
    assert [expected] == list(world.job.dead_shards())

    # when the job has ended
    world.commit(2)
    world.finish()

    assert [expected] == list(world.job.dead_shards())


def test_an_ok_that_comes_after_the_end_does_not_count(client: Client) -> None:
    # given a store that ignores conditions, so that ok may be stored beside dead
    client._jobs.objects._conditional_writes = False
    world = _World(client)
    world.commit(0)
    world.commit(1, dead=True)
    world.commit(2)
    world.finish()
    world.commit(1)

    parts = list(world.job.shard_results(partial=True))

    assert [0, 4, 0] == [len(part.errors) for part in parts]
    assert [1] == [shard.shard for shard in world.job.dead_shards()]
    assert [1] == [
        s.first_item // 4 for s in world.client.retry_failed(world.job.id).manifest.shards
    ]


def test_a_job_that_ended_well_tells_its_counts(client: Client) -> None:
    world = _World(client, tags={"team": "vision"})
    world.commit(0, bad=(1,))
    world.commit(1)
    last = world.commit(2)
    world.finish()

    status = world.job.status()

    assert (JobState.PARTIAL, 10, 9, 1) == (
        status.state,
        status.items_done,
        status.items_ok,
        status.items_failed,
    )
    assert (3, 0, {"team": "vision"}) == (status.shards_done, status.shards_dead, status.tags)
    took_s = (last.committed_at - world.job.manifest.created_at) / timedelta(seconds=1)
    assert pytest.approx(10 / max(1e-6, took_s)) == status.items_per_s
    assert status.ended
    assert status.ended_at >= last.committed_at


def test_a_job_with_a_dead_shard_is_partial_and_says_why(world: _World) -> None:
    world.commit(0)
    world.commit(1, dead=True)
    world.commit(2)
    world.finish()

    status = world.job.status()

    assert (JobState.PARTIAL, 6, 4, 1) == (
        status.state,
        status.items_ok,
        status.items_failed,
        status.shards_dead,
    )
    assert "4 of 10 items failed; shard 1 is dead (input): it was cut off" == status.reason


# Waiting.


def test_waiting_gives_up_and_says_how_far_it_is(world: _World) -> None:
    world.commit(0)

    for timeout_s in (0, 0.1):
        with pytest.raises(WaitTimeoutError, match=f"has 1 of 3 shards after {timeout_s:g} s"):
            world.job.wait(timeout_s=timeout_s)


def test_waiting_sees_the_end_and_shows_the_progress(world: _World) -> None:
    # given shards that are done one by one during the wait
    seen: list[JobStatus] = []
    steps: list[Callable[[], object]] = [
        lambda: world.commit(0),
        lambda: world.commit(1),
        lambda: world.commit(2),
        world.finish,
    ]

    def work(status: JobStatus) -> None:
        seen.append(status)
        if steps:
            steps.pop(0)()

    status = world.job.wait(timeout_s=30, on_progress=work)

    assert JobState.SUCCEEDED == status.state
    assert [0, 4, 8, 10] == list(dict.fromkeys(status.items_done for status in seen))


# Results.


def test_results_are_in_the_order_of_submission(world: _World) -> None:
    for shard in (2, 0, 1):
        world.commit(shard)
    world.finish()

    results = world.job.results()

    parts = world.job.shard_results()
    assert [(0, 0, 4), (1, 4, 4), (2, 8, 2)] == [
        (part.shard, part.first_item, len(part.probabilities)) for part in parts
    ]
    numbers = np.arange(10, dtype=np.float32)
    np.testing.assert_array_equal(np.stack([numbers, numbers**2], axis=1), results.probabilities)
    assert np.float32 == results.probabilities.dtype
    assert (["a", "b"], "m:1", {}) == (results.classes, results.model, results.errors)
    assert [str(n) for n in range(10)] == results.item_ids
    assert ["a", "a"] == results.labels[:2]
    assert ["b"] * 8 == results.labels[2:]


def test_items_without_a_result_are_nan_with_a_reason(world: _World) -> None:
    world.commit(0, bad=(0, 3))
    world.commit(1, bad=(1,))
    world.commit(2)
    world.finish()

    results = world.job.results()

    assert {0: "broken PNG", 3: "broken PNG", 5: "broken PNG"} == results.errors
    assert [0, 3, 5] == list(np.flatnonzero(np.isnan(results.probabilities).any(axis=1)))
    assert [None, None, None] == [results.labels[n] for n in (0, 3, 5)]


def test_results_of_a_job_at_work_are_refused_unless_partial(world: _World) -> None:
    world.commit(1)

    with pytest.raises(JobNotFinishedError, match="has not ended"):
        world.job.results()
    results = world.job.results(partial=True)

    assert [4, 5, 6, 7] == list(np.flatnonzero(~np.isnan(results.probabilities).any(axis=1)))
    assert {0, 1, 2, 3, 8, 9} == set(results.errors)
    assert "not predicted: the job has not ended" == results.errors[0]


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "EXPIRED"])
def test_results_of_a_job_that_ended_otherwise_are_refused_unless_partial(
    world: _World, state: str
) -> None:
    world.commit(1)
    world.finish(state, "for a reason")

    with pytest.raises(JobFailedError, match=f"ended {state}: for a reason.* 4 of 10 items"):
        world.job.results()
    results = world.job.results(partial=True)

    assert f"not predicted: the job ended {state}" == results.errors[0]
    assert {0, 1, 2, 3, 8, 9} == set(results.errors)


def test_items_of_a_dead_shard_say_why(world: _World) -> None:
    for shard in range(3):
        world.commit(shard, dead=shard == 2)
    world.finish()

    results = world.job.results(partial=True)

    assert dict.fromkeys((8, 9), "shard 2 is dead (input): it was cut off") == results.errors


def test_outcomes_that_came_after_the_end_do_not_count(world: _World) -> None:
    world.commit(0)
    world.finish("CANCELLED", "enough")
    world.commit(1)

    results = world.job.results(partial=True)

    assert set(range(4, 10)) == set(results.errors)
    assert 4 == world.job.status().items_done


def test_changed_data_is_noticed(world: _World) -> None:
    for shard in range(3):
        outcome = world.commit(shard)
    world.finish()
    world.jobs.objects.put(outcome.data.key, to_npy(np.zeros((2, 2), np.float32)))

    with pytest.raises(IntegrityError, match="sha256"):
        world.job.results()


@pytest.mark.parametrize("state", [None, "CANCELLED"], ids=["complete", "cancelled"])
@pytest.mark.parametrize(
    "change",
    [
        lambda held: {
            "data": ObjectRef.of(
                f"jobs/{held.job_id}/data/x.npy", to_npy(np.ones((4, 2), np.float32))
            )
        },
        lambda _: {"item_errors": [ItemError(index=0, reason="none such")]},
        lambda _: {"item_errors": []},
        lambda _: {"status": "dead", "data": None, "reason": "input"},
        lambda _: {"item_ids_sha256": "0" * 64},
        None,
    ],
    ids=["data", "more failed", "fewer failed", "dead", "ids", "gone"],
)
def test_outcomes_that_are_not_those_of_the_end_are_refused(
    world: _World, change: Callable[[ShardOutcome], dict[str, object]] | None, state: str | None
) -> None:
    # given an ended job, and the outcome of a shard that was changed since, with its data
    data = to_npy(np.ones((4, 2), np.float32))
    world.jobs.objects.put(f"jobs/{world.job.id}/data/x.npy", data)
    for shard in (0, 1) if state else (0, 1, 2):
        world.commit(shard, bad=(3,) if shard == 1 else ())
    world.finish(state, "enough")
    key = keys.JobKeys(world.job.id).outcome(1)
    changed = world.jobs.outcome(world.job.id, 1)
    if change is None:
        world.jobs.objects.delete(key)
    else:
        world.jobs.objects.put(key, changed.model_copy(update=change(changed)).to_json())

    # then who reads all of them is told, and a stream breaks off before its last shard
    streamed = []
    for read in (
        lambda: world.job.results(partial=True),
        lambda: streamed.extend(part.shard for part in world.job.shard_results(partial=True)),
        lambda: list(world.job.item_errors()),
        lambda: world.client.verify(world.job.id),
    ):
        with pytest.raises(IntegrityError, match="not those that it ended with"):
            read()
    assert 2 not in streamed


def test_a_result_of_another_shape_than_the_output_s_is_refused(world: _World) -> None:
    # given outcomes whose digests are right
    outcome = world.commit(0)
    key = keys.JobKeys(world.job.id).outcome(0)
    for wrong, fact in (
        (np.zeros((4, 1), np.float32), r"float32 \[4, 1\]"),
        (np.zeros(4, np.float32), r"float32 \[4\]"),
        (np.zeros((1, 2), np.float32), r"float32 \[1, 2\]"),
        (np.zeros((4, 2), np.float64), r"float64 \[4, 2\]"),
    ):
        data = ObjectRef.of("other", to_npy(wrong), inline=True)
        forged = outcome.model_copy(update={"schema_version": 2, "data": data})
        world.jobs.objects.put(key, forged.to_json())

        with pytest.raises(IntegrityError, match=f"is {fact}, and 'outputs' is float32"):
            world.job.results(partial=True)


def test_a_reason_for_an_item_that_its_shard_has_not_is_refused(world: _World) -> None:
    outcome = world.commit(0)
    errors = [ItemError(index=4, reason="there are four")]
    forged = outcome.model_copy(update={"item_errors": errors})
    world.jobs.objects.put(keys.JobKeys(world.job.id).outcome(0), forged.to_json())

    for read in (lambda: world.job.results(partial=True), lambda: list(world.job.item_errors())):
        with pytest.raises(IntegrityError, match="errors of items beyond its 4"):
            read()


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        ({"item_count": 2**31 - 1}, "of 2147483647 items, and the shard has 4"),
        ({"item_errors": [ItemError(index=4, reason="x")]}, "errors of items beyond its 4"),
        # More errors than items would leave less than none that are ok.
        ({"item_errors": [ItemError(index=1, reason="x")] * 9}, "several errors of one item"),
    ],
    ids=["items", "beyond", "repeated"],
)
def test_an_outcome_of_other_items_than_its_shard_has_ends_the_job_as_failed(
    world: _World, forged: dict[str, object], why: str
) -> None:
    # given
    outcomes = [world.commit(shard) for shard in range(3)]
    outcome = outcomes[0].model_copy(update=forged)
    world.jobs.objects.put(keys.JobKeys(world.job.id).outcome(0), outcome.to_json())

    # when
    world.jobs.finish_if_complete(world.job.manifest)

    # then
    status = world.job.status()
    assert (JobState.FAILED, 6, 0) == (status.state, status.items_ok, status.items_failed)
    assert why in (status.reason or "")
    # It is computed again, as an outcome that is none.
    assert [0] == [s.first_item for s in world.client.retry_failed(world.job.id).manifest.shards]


def test_items_beyond_a_shard_are_not_retried(world: _World) -> None:
    # given an end by a worker that believed the outcome
    outcome = world.commit(0)
    forged = outcome.model_copy(update={"item_errors": [ItemError(index=4, reason="x")]})
    world.jobs.objects.put(keys.JobKeys(world.job.id).outcome(0), forged.to_json())
    final = summarise(world.job.manifest, [forged], None, None)
    world.jobs.objects.put(keys.JobKeys(world.job.id).final, final.to_json())

    with pytest.raises(IntegrityError, match="errors of items beyond its 4"):
        world.client.retry_failed(world.job.id)


@pytest.mark.parametrize(
    "forged",
    [
        {"outcome_ranges": [[0, MAX_SHARDS - 1]]},
        {"dead_ranges": [[0, MAX_SHARDS - 1]]},
        {"shards_missing": 2**53 - 1},
    ],
    ids=["outcomes", "dead", "missing"],
)
def test_an_end_of_other_shards_than_the_job_has_is_none(
    world: _World, forged: dict[str, object]
) -> None:
    # given
    world.finish("CANCELLED")
    final = world.jobs.final(world.job.id)
    assert final is not None
    # Whoever believed it would ask for the outcomes of millions.
    key = keys.JobKeys(world.job.id).final
    world.jobs.objects.put(key, final.model_copy(update=forged).to_json())

    for read in (
        world.job.status,
        lambda: world.job.results(partial=True),
        lambda: list(world.job.dead_shards()),
        lambda: list(world.job.item_errors()),
        lambda: world.client.retry_failed(world.job.id),
        lambda: world.client.verify(world.job.id),
    ):
        with pytest.raises(MessageError, match="shards, and the job has 3; remove jobs/"):
            read()
    assert [JobState.UNREADABLE] == [status.state for status in world.client.jobs()]


def test_ids_of_another_producer_that_are_none_are_refused(client: Client) -> None:
    # given a manifest that names an object of item ids, which is not a list of four strings
    world = _World(client, item_ids=[str(n) for n in range(10)])
    manifest = world.job.manifest
    first, *rest = manifest.shards
    for ids in (b'["a"]', b'{"a": 1}', b"7", b"[1, 2, 3, 4]", b"{"):
        world.jobs.objects.put("inputs/other", ids)
        wrong = first.model_copy(update={"item_ids": ObjectRef.of("inputs/other", ids)})
        shards = Shards([wrong, *rest])
        world.job.manifest = manifest.model_copy(update={"shards": shards})

        with pytest.raises(IntegrityError, match="4 item ids"):
            world.job.results(partial=True)


# Cancelling.


def test_a_cancelled_job_keeps_what_is_done(world: _World) -> None:
    world.commit(1)

    status = world.job.cancel("wrong images")

    assert (JobState.CANCELLED, "wrong images", 4) == (
        status.state,
        status.reason,
        status.items_ok,
    )
    assert status == world.job.status()
    assert "wrong images" == world.job.cancel("once more").reason
    assert (
        "ended"
        == world.client._coordination.begin([Claim(world.job.id, 0, "a")], lease_s=1)[0].status
    )
    assert [4, 5, 6, 7] == list(
        np.flatnonzero(~np.isnan(world.job.results(partial=True).probabilities).any(axis=1))
    )


def test_a_job_that_was_complete_has_succeeded_all_the_same(world: _World) -> None:
    for shard in range(3):
        world.commit(shard)

    assert JobState.SUCCEEDED == world.job.cancel().state


def test_a_job_that_has_ended_stays_as_it_ended(world: _World) -> None:
    world.finish("EXPIRED", "late")

    assert JobState.EXPIRED == world.job.cancel().state
    assert "late" == world.job.status().reason


def test_a_cancel_holds_also_while_the_broker_is_away(
    world: _World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise BrokerError("away")

    monkeypatch.setattr(world.client._coordination, "end_jobs", fail)

    assert JobState.CANCELLED == world.job.cancel().state
    assert JobState.CANCELLED == world.job.status().state
