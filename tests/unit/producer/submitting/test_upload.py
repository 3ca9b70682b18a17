"""Uploads: keys, order, and how many shards are in memory at a time."""

import threading

import numpy as np
import pytest

from fornada import keys
from fornada.errors import StoreUnavailableError
from fornada.formats.npy import from_npy
from fornada.records import sha256_hex
from fornada.storage.memory import InMemoryObjectStore
from producer.submitting.sharding import Shard
from producer.submitting.upload import upload


def shard(number: int, *, ids: list[str] | None = None) -> Shard:
    return Shard(images=np.full((2, 3), number, np.uint8), item_ids=ids)


def test_each_shard_is_stored_under_the_key_in_its_manifest() -> None:
    objects = InMemoryObjectStore()

    inputs = list(upload(map(shard, range(9)), job_id="job", objects=objects, store=True))

    for number, spec in enumerate(inputs):
        (ref,) = spec.objects
        data = objects.get(ref.key).data
        assert keys.JobKeys("job").input(number, sha256_hex(data)) == ref.key
        assert (len(data), sha256_hex(data), 2) == (ref.size_bytes, ref.sha256, spec.item_count)
        np.testing.assert_array_equal(shard(number).images, from_npy(data, where="here"))
        assert spec.item_ids is None


def test_without_storing_the_inputs_are_the_same() -> None:
    objects = InMemoryObjectStore()
    shards = [shard(n, ids=[str(n), "x"]) for n in range(5)]

    said = list(upload(shards, job_id="job", objects=objects, store=False))

    assert [] == list(objects.list(""))
    assert list(upload(shards, job_id="job", objects=objects, store=True)) == said


def test_a_store_that_fails_ends_it_and_leaves_no_thread() -> None:
    class Failing(InMemoryObjectStore):
        """Fails from the sixth object on."""

        def put(self, key, data, *, bucket=None):  # noqa: ANN001, ANN202 - as the base
            if "/00000005-" in key:
                raise StoreUnavailableError("503")
            super().put(key, data, bucket=bucket)

    before = threading.active_count()

    with pytest.raises(StoreUnavailableError):
        list(upload(map(shard, range(9)), job_id="job", objects=Failing(), store=True))

    assert before == threading.active_count()
