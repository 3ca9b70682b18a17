"""A store written by commit f0672dc is read, resumed, retried and verified."""

import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada.jobs.summary import OutcomesDigest
from fornada.queue.message import ShardMessage
from fornada.ranges import from_ranges
from producer.client import Client

STORE = Path(__file__).parents[2] / "old_stores" / "f0672dc.tar.xz"
ITEMS = np.arange(30, dtype=np.float32).reshape(10, 3)


class _Sender:
    """Runs shards as they are enqueued."""

    def __init__(self, world: Any) -> None:
        self._world = world

    def enqueue(
        self,
        messages: Iterable[ShardMessage],
        *,
        together: int = 1,
        traces: Mapping[str, str] | None = None,
    ) -> None:
        for message in list(messages):
            self._world.service.run(message)

    def reserved(self) -> set[ShardMessage]:
        return set()


class _OldStore:
    """The store, and a client and a worker of today on it."""

    def __init__(self, world: Any) -> None:
        with tarfile.open(STORE) as archive:
            for member in archive:
                stream = archive.extractfile(member)
                assert stream is not None
                world.objects.put(member.name, stream.read())
        self.world = world
        self.names: dict[str, str] = json.loads(world.objects.get("names.json").data)
        self.client = Client(
            objects=world.objects,
            coordination=world.coordination,
            sender=_Sender(world),
            settings=world.settings,
        )

    def job(self, name: str) -> Any:
        return self.client.job(self.names.get(name, name))


@pytest.fixture
def old(world: Any) -> _OldStore:
    return _OldStore(world)


def test_finished_jobs_are_read_as_they_ended(old: _OldStore) -> None:
    for name, state, failed in (
        ("large", "SUCCEEDED", [5]),
        ("images", "SUCCEEDED", [1]),
        ("small", "SUCCEEDED", [1]),
        ("small of two shards", "SUCCEEDED", []),
        ("failed", "FAILED", list(range(4, 10))),
        ("cancelled", "CANCELLED", list(range(4, 10))),
    ):
        job = old.job(name)
        results = job.results(partial=state != "SUCCEEDED")
        final = old.world.jobs.final(job.id)

        assert state == job.status().state, name
        assert failed == sorted(results.errors) == list(np.flatnonzero(~results.ok)), name
        assert failed == list(np.flatnonzero(np.isnan(results.probabilities).all(axis=1))), name
        held = [
            final.outcome or old.world.jobs.outcome(job.id, shard)
            for shard in from_ranges(final.outcome_ranges)
        ]
        assert final.outcomes_sha256 == OutcomesDigest(held).sha256, name
    assert [f"row {n}" for n in range(10)] == old.job("large").results().item_ids
    assert ["row 5"] == [item.item_id for item in old.job("large").item_errors()]


def test_open_jobs_are_resumed_and_end_by_the_old_rule(old: _OldStore) -> None:
    for name in ("open", "open small", "open small of two shards", "open-failing"):
        old.client.resume(old.job(name).id)
    # Redis never knew of the shards that were done before.
    old.world.new_reconciler().round()

    for name, state, rows in (
        ("open", "SUCCEEDED", ITEMS),
        ("open small", "SUCCEEDED", ITEMS[:2]),
        ("open small of two shards", "SUCCEEDED", ITEMS[:5]),
        ("open-failing", "FAILED", ITEMS),
    ):
        job = old.job(name)
        assert state == job.status().state, name
        assert old.world.jobs.final(job.id).schema_version == job.manifest.schema_version < 3
        results = job.results(partial=True)
        expected = old.world.row_sums(rows)
        np.testing.assert_array_equal(expected[results.ok], results.probabilities[results.ok])
        assert (state == "FAILED") == bool(results.errors), name


def test_a_failed_job_is_retried_by_the_new_rule(old: _OldStore) -> None:
    # given the input that was damaged, as it was
    failed = old.job("failed")
    intact = old.world.objects.get("jobs/cancelled/input/1.npy").data
    old.world.objects.put(failed.manifest.shards[1].objects[0].key, intact)

    retry = old.client.retry_failed(failed.id)

    assert ("SUCCEEDED", 3) == (retry.status().state, retry.manifest.schema_version)
    assert [str(n) for n in range(4, 10)] == retry.results().item_ids
    np.testing.assert_array_equal(old.world.row_sums(ITEMS[4:]), retry.results().probabilities)
    assert retry.id == old.client.retry_failed(failed.id).id


@pytest.mark.parametrize(
    ("name", "item_id"), [("large", "row 5"), ("images", "photos/1.png"), ("small", "1")]
)
def test_failed_items_are_retried_alone(old: _OldStore, name: str, item_id: str) -> None:
    retry = old.client.retry_failed(old.job(name).id)

    status = retry.status()
    assert ("FAILED", 1, 1) == (status.state, status.items, status.items_failed)
    assert [item_id] == [item.item_id for item in retry.item_errors()]


def test_jobs_are_verified(old: _OldStore) -> None:
    for name, items in (("large", 10), ("images", 3), ("small", 3), ("small of two shards", 5)):
        found = old.client.verify(old.job(name).id)

        assert (True, items) == (found.same, found.items), name
