"""Two buckets on one Redis database are found, and what is right is left alone."""

from collections.abc import Callable

import numpy as np
import pytest

from fornada import keys
from fornada.errors import (
    ForeignBucketError,
    ObjectNotFoundError,
    StoreAccessError,
    StoreUnavailableError,
)
from fornada.jobs.bucket_id import BucketCheck
from fornada.storage.memory import InMemoryObjectStore
from fornada.testing import HookedObjectStore, InMemoryCoordination
from producer.client import Client
from producer.testing import in_memory_client


def _bucket(*, conditional_writes: bool = True) -> HookedObjectStore:
    return HookedObjectStore(InMemoryObjectStore(conditional_writes=conditional_writes))


def _check(
    objects: HookedObjectStore, coordination: InMemoryCoordination, place: str = "'a' at AWS"
) -> BucketCheck:
    return BucketCheck(objects=objects, coordination=coordination, place=place)


@pytest.mark.parametrize("conditional_writes", [True, False])
def test_a_second_bucket_on_one_redis_is_refused_until_it_is_adopted(
    *, conditional_writes: bool
) -> None:
    coordination = InMemoryCoordination()
    ours = _check(_bucket(conditional_writes=conditional_writes), coordination)
    theirs = _check(_bucket(conditional_writes=conditional_writes), coordination, "'b' at AWS")
    for _ in range(2):
        ours.check()

    with pytest.raises(
        ForeignBucketError,
        match=r"Redis belongs to bucket 'a' at AWS, and this process uses 'b' at AWS; give each "
        r"bucket a Redis database of its own .*, or `fornada doctor --adopt`",
    ):
        theirs.check_once()

    # An answer that may change is asked for again.
    theirs.adopt()
    theirs.check_once()
    with pytest.raises(ForeignBucketError):
        ours.check()


def test_an_emptied_redis_gets_its_stamp_back_and_a_moved_bucket_keeps_its_id() -> None:
    objects, coordination = _bucket(), InMemoryCoordination()
    _check(objects, coordination).check()

    coordination.flush()
    _check(objects, coordination).check()
    _check(objects, coordination, "'moved' at http://elsewhere").check()

    with pytest.raises(ForeignBucketError):
        _check(_bucket(), coordination).check()


@pytest.mark.parametrize("conditional_writes", [True, False])
def test_of_two_that_give_a_bucket_its_id_at_once_both_have_the_same(
    *, conditional_writes: bool
) -> None:
    objects, coordination = _bucket(conditional_writes=conditional_writes), InMemoryCoordination()

    def other_comes_first(operation: str, _key: str) -> None:
        if "put" in operation:
            objects.before = lambda _operation, _key: None
            _check(objects, coordination).check()

    objects.before = other_comes_first

    _check(objects, coordination).check()
    _check(objects, coordination).check()


def test_who_may_not_read_the_id_works_on_and_who_cannot_reach_it_is_told() -> None:
    objects, coordination = _bucket(), InMemoryCoordination()

    def failing(error: Exception) -> Callable[[str, str], None]:
        def before(_operation: str, key: str) -> None:
            if key == keys.BUCKET_ID:
                raise error

        return before

    objects.before = failing(StoreAccessError("not yours"))
    _check(objects, coordination).check()
    objects.before = failing(StoreUnavailableError("away"))
    with pytest.raises(StoreUnavailableError):
        _check(objects, coordination).check()


def test_damaged_marks_are_refused_with_what_to_do() -> None:
    objects, coordination = _bucket(), InMemoryCoordination()
    coordination.stamp(b"junk")

    with pytest.raises(ForeignBucketError, match=r"Redis key fornada:bucket .* --adopt"):
        _check(objects, coordination).check()


def test_a_client_of_another_bucket_submits_nothing() -> None:
    client = in_memory_client(model="m", item_shape=[2], classes=["a", "b"], run_at_once=False)
    coordination: object = client._coordination
    assert isinstance(coordination, InMemoryCoordination)
    images = np.zeros((1, 2), np.uint8)
    job = client.submit(images, model="m", idempotency_key="a")
    assert [job.id] == client._jobs.job_ids()
    other = in_memory_client(model="m", item_shape=[2], classes=["a", "b"], run_at_once=False)
    mixed = Client(
        objects=other._jobs.objects,
        coordination=coordination,
        sender=client._sender,
        settings=other._creator.settings,
    )

    with pytest.raises(ForeignBucketError):
        mixed.submit(images, model="m", idempotency_key="b")

    with pytest.raises(ObjectNotFoundError):
        other._jobs.objects.get(keys.JobKeys("b").manifest)
    # A client that only looks is not asked.
    assert [] == mixed.jobs()
