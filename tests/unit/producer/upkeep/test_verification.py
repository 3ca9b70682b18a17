"""Shards of an ended job computed again: the same bytes, or the first value that differs."""

from datetime import timedelta

import numpy as np
import pytest

from fornada import keys
from fornada.errors import JobFailedError, UsageError, WaitTimeoutError
from fornada.tensors import OutputTensor
from producer.client import Client
from producer.job import Job
from producer.testing import in_memory_client
from producer.upkeep.verification import Difference

IMAGES = np.arange(20 * 4, dtype=np.uint8).reshape(20, 2, 2)


class _Model:
    """Predicts sums and squares; may be told to drift over one item."""

    def __init__(self) -> None:
        self.drifts_over: int | None = None

    def predict(self, images: np.ndarray) -> np.ndarray:
        firsts = images[:, 0, 0].astype(np.float32)
        rows = np.stack([firsts, firsts**2], axis=1)
        if self.drifts_over is not None:
            rows[images[:, 0, 0] == 4 * self.drifts_over, 1] += np.float32(0.5)
        return rows


@pytest.fixture
def model() -> _Model:
    return _Model()


@pytest.fixture
def client(model: _Model) -> Client:
    return in_memory_client(model="m", item_shape=[2, 2], classes=["a", "b"], predict=model.predict)


@pytest.fixture
def job(client: Client) -> Job:
    """Twenty images in shards of three; the last has two."""
    return client.submit(IMAGES, model="m", items_per_shard=3)


def test_a_job_comes_out_the_same(client: Client, job: Job) -> None:
    found = client.verify(job.id)

    assert found.same
    assert (job.id, 7, 20, 0, None, None) == (
        found.job_id,
        found.shards,
        found.items,
        found.shards_differing,
        found.first_difference,
        found.engines,
    )


def test_the_first_value_that_differs_is_named(client: Client, job: Job, model: _Model) -> None:
    model.drifts_over = 13

    found = client.verify(job.id)

    assert not found.same
    assert 1 == found.shards_differing
    assert (
        Difference(
            shard=4,
            item=13,
            output="outputs",
            column="b",
            recorded=52.0**2,
            recomputed=52.0**2 + 0.5,
        )
        == found.first_difference
    )


def test_of_several_outputs_the_one_that_differs_is_named() -> None:
    # given a model that gives items masks and tokens, any number, and then others
    gives = [
        OutputTensor(name="mask", dtype="bool", shape=[2, 2], kind="tensor"),
        OutputTensor(name="tokens", dtype="string", shape=[None], kind="tensor"),
    ]
    masks = {"mask": IMAGES > 8}
    answers = [
        {**masks, "tokens": [["a"]] * 20},
        {**masks, "tokens": [["a"]] * 20},
        {**masks, "tokens": [["a"]] * 19 + [["b"]]},
        {**masks, "tokens": [["a", "b"]] * 20},
        {"mask": IMAGES > 14, "tokens": [["a"]] * 20},
    ]
    found = [{"mask": IMAGES[:1] > 8, "tokens": [["a"]]}, *answers]
    client = in_memory_client(
        model="m", item_shape=[2, 2], outputs=gives, predict=lambda _images: found.pop(0)
    )
    job = client.submit(IMAGES, model="m")

    assert client.verify(job.id).same
    differences = [client.verify(job.id).first_difference for _ in answers[2:]]

    assert [
        (19, "tokens", "[0]", "a", "b"),
        (0, "tokens", "shape", "[1]", "[2]"),
        (2, "mask", "[0, 1]", True, False),
    ] == [
        (each.item, each.output, each.column, each.recorded, each.recomputed)
        for each in differences
        if each is not None
    ]


def test_a_sample_has_as_many_shards_and_the_same_ones_each_time(client: Client, job: Job) -> None:
    samples = [client.verify(job.id, sample=3) for _ in range(2)]

    first, second = (client.job(found.verification_id).manifest for found in samples)
    assert [3, 3] == [found.shards for found in samples]
    assert first.shards == second.shards
    assert first.job_id != second.job_id


def test_of_a_retry_the_items_of_the_first_job_are_named(
    client: Client, job: Job, model: _Model
) -> None:
    # given a job of the last shards of another one
    jobs = client._jobs
    for shard in (5, 6):
        client._jobs.objects.delete(keys.JobKeys(job.id).outcome(shard))
    client._jobs.objects.delete(keys.JobKeys(job.id).final)
    jobs.finish(job.manifest, "CANCELLED", "enough")
    retry = client.retry_failed(job.id)
    model.drifts_over = 18

    found = client.verify(retry.id)

    assert found.first_difference is not None
    assert (1, 18) == (found.first_difference.shard, found.first_difference.item)


def test_what_ended_its_workers_is_not_run_again(client: Client, job: Job) -> None:
    # given a shard that was predicted in a process of its own
    outcome = client._jobs.outcome(job.id, 2)
    assert outcome is not None
    isolated = outcome.model_copy(update={"isolated": True})
    client._jobs.objects.put(keys.JobKeys(job.id).outcome(2), isolated.to_json())

    found = client.verify(job.id)

    assert 6 == found.shards
    manifest = client.job(found.verification_id).manifest
    assert [0, 3, 9, 12, 15, 18] == [spec.first_item for spec in manifest.shards]


def test_another_engine_is_named(client: Client, job: Job) -> None:
    for shard in range(7):
        outcome = client._jobs.outcome(job.id, shard)
        assert outcome is not None
        then = outcome.model_copy(update={"engine": "abacus 1", "tile_items": 64})
        client._jobs.objects.put(keys.JobKeys(job.id).outcome(shard), then.to_json())

    found = client.verify(job.id)

    assert found.same
    assert ("abacus 1, 64 items a call", "in memory") == found.engines


def test_neither_an_open_job_nor_one_without_a_good_shard_is_verified() -> None:
    client = in_memory_client(model="m", item_shape=[2, 2], classes=["a", "b"], run_at_once=False)
    job = client.submit(IMAGES, model="m")
    with pytest.raises(UsageError, match="has not ended"):
        client.verify(job.id)
    job.cancel()

    with pytest.raises(UsageError, match="ended CANCELLED without a shard to run again"):
        client.verify(job.id)


def test_a_sample_of_nothing_is_refused(client: Client, job: Job) -> None:
    for sample in (0, -1):
        with pytest.raises(UsageError, match="at least 1"):
            client.verify(job.id, sample=sample)


def test_a_shard_that_cannot_be_run_again_is_said(
    client: Client, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a verification that is cancelled
    monkeypatch.setattr(client._sender, "enqueue", lambda messages, **_: list(messages))
    monkeypatch.setattr(Job, "wait", lambda again, _timeout_s: again.cancel())

    with pytest.raises(JobFailedError, match="could not run shard 0 again"):
        client.verify(job.id)


def test_waiting_has_a_limit_and_images_that_an_open_verification_reads_are_not_purged(
    client: Client, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client._sender, "enqueue", lambda messages, **_: list(messages))
    with pytest.raises(WaitTimeoutError):
        client.verify(job.id, timeout_s=0)

    assert [] == client.purge(timedelta(0))
