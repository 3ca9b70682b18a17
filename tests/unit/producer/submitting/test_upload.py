"""Uploads: keys, order, and how many shards are in memory at a time."""

import threading

import numpy as np
import pytest

from fornada import keys
from fornada.errors import StoreUnavailableError
from fornada.formats.npy import from_npy
from fornada.formats.tar import Span
from fornada.records import sha256_hex
from fornada.storage.memory import InMemoryObjectStore
from producer.submitting.shards import ArrayShard, FileShard
from producer.submitting.upload import try_inline, upload


def shard(number: int, *, ids: list[str] | None = None) -> ArrayShard:
    return ArrayShard(images=np.full((2, 3), number, np.uint8), item_ids=ids)


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


def test_files_are_stored_with_an_index_and_inlined_without() -> None:
    objects = InMemoryObjectStore()
    packed = FileShard(
        archive=b"archive", spans=[Span(1, 2, "0" * 64), Span(3, 0)], item_ids=["a", "b"]
    )

    (stored,) = upload([packed], job_id="job", objects=objects, store=True)
    inline, _ = try_inline(iter([packed]), max_bytes=1000)

    assert ("tar", 2) == (stored.format, stored.item_count)
    assert stored.objects[0].key.endswith(".tar")
    assert b"archive" == objects.get(stored.objects[0].key).data
    assert stored.index is not None
    assert b'[[1,2,"%s"],[3,0]]' % (b"0" * 64) == objects.get(stored.index.key).data
    assert inline is not None
    assert (True, None) == (inline[0].is_inline, inline[0].index)
