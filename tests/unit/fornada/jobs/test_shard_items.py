"""A shard's items: which are right, and whose fault it is when they are not."""

import io
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fornada.errors import (
    BucketNotFoundError,
    InputError,
    IntegrityError,
    ObjectNotFoundError,
    StoreAccessError,
    StoreUnavailableError,
)
from fornada.formats.npy import to_npy
from fornada.jobs.manifest import JobManifest
from fornada.jobs.shard_inputs import ShardInput
from fornada.jobs.shard_items import read_items
from fornada.jobs.store import JobStore
from fornada.records import ModelPin, ObjectRef, sha256_hex
from fornada.settings import Settings
from fornada.storage.memory import InMemoryObjectStore
from fornada.trust.input_prefixes import InputPrefixes

PREFIXES = InputPrefixes.from_settings(
    Settings(s3_bucket="own", input_prefixes="s3://own/,s3://theirs/")
)
IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)


class _Store(InMemoryObjectStore):
    """Fails with `error` for objects in another bucket than its own."""

    error: Exception | None = None

    def get(self, key, *, bucket=None, max_bytes=None):  # noqa: ANN001, ANN202 - as the base
        if bucket is not None and self.error is not None:
            raise self.error
        return super().get(key, bucket=bucket, max_bytes=max_bytes)


@pytest.fixture
def jobs() -> JobStore:
    return JobStore(objects=_Store(), prefixes=PREFIXES)


def manifest(shard: ShardInput, *, shape: list[int], dtype: str) -> JobManifest:
    return JobManifest(
        job_id="job",
        model=ModelPin(name="m", version=1, sha256="0" * 64),
        item_shape=shape,
        item_dtype=dtype,
        classes=["a"],
        shards=[shard],
        max_attempts=1,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def stored(jobs: JobStore, key: str, data: bytes) -> ObjectRef:
    jobs.objects.put(key, data)
    return ObjectRef(key=key, size_bytes=len(data), sha256=sha256_hex(data))


def read(jobs: JobStore, shard: ShardInput, *, shape: tuple = (2, 3), dtype: str = "uint8"):  # noqa: ANN201 - Items
    return read_items(manifest(shard, shape=list(shape), dtype=dtype), shard, jobs=jobs)


def array_shard(jobs: JobStore, array: np.ndarray) -> ShardInput:
    return ShardInput(objects=[stored(jobs, "in.npy", to_npy(array))], item_count=len(array))


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_an_array_is_read_as_it_is(jobs: JobStore) -> None:
    items = read(jobs, array_shard(jobs, IMAGES))

    np.testing.assert_array_equal(IMAGES, items.groups[0].rows.only)
    np.testing.assert_array_equal([0, 1, 2, 3], items.groups[0].positions)
    assert [] == items.errors


@pytest.mark.parametrize(
    ("have", "want"), [((4, 2, 3, 1), (2, 3)), ((4, 2, 3), (2, 3, 1)), ((4,), (1,)), ((4, 1), ())]
)
def test_a_last_axis_of_one_is_added_or_dropped(
    jobs: JobStore, have: tuple[int, ...], want: tuple[int, ...]
) -> None:
    array = IMAGES.reshape(-1)[: np.prod(have)].reshape(have)

    rows = read(jobs, array_shard(jobs, array), shape=want).groups[0].rows.only

    assert (4, *want) == rows.shape


@pytest.mark.parametrize(
    ("have", "want"), [((4, 2), (2, 3)), ((4, 2, 3), (3, 2)), ((4, 2, 3), (2,)), ((4, 6), (2, 3))]
)
def test_another_shape_is_the_inputs_fault(
    jobs: JobStore, have: tuple[int, ...], want: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match="submit the items again"):
        read(jobs, array_shard(jobs, np.zeros(have, np.uint8)), shape=want)


@pytest.mark.parametrize("dtype", ["int8", ">u2", "float32", "bool"])
def test_another_dtype_is_the_inputs_fault(jobs: JobStore, dtype: str) -> None:
    with pytest.raises(InputError, match="the job says uint8"):
        read(jobs, array_shard(jobs, IMAGES.astype(dtype)))


def test_another_count_is_the_inputs_fault(jobs: JobStore) -> None:
    shard = array_shard(jobs, IMAGES).model_copy(update={"item_count": 5})

    with pytest.raises(InputError, match=r"\[5, 2, 3\]"):
        read(jobs, shard)


@given(bad=st.sets(st.integers(0, 9)), value=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_items_with_values_that_are_no_numbers_are_left_out(bad: set[int], value: float) -> None:
    jobs = JobStore(objects=InMemoryObjectStore(), prefixes=PREFIXES)
    array = np.arange(30, dtype=np.float32).reshape(10, 3)
    array[sorted(bad), 1] = value

    items = read(jobs, array_shard(jobs, array), shape=(3,), dtype="float32")

    good = [index for index in range(10) if index not in bad]
    assert sorted(bad) == [error.index for error in items.errors]
    assert (1 if good else 0) == len(items.groups)
    for group in items.groups:
        assert good == list(group.positions)
        np.testing.assert_array_equal(array[good], group.rows.only)


def test_images_are_items_in_the_order_of_their_objects(jobs: JobStore) -> None:
    refs = [stored(jobs, f"{9 - n}.png", png(image)) for n, image in enumerate(IMAGES)]

    items = read(jobs, ShardInput(format="image", objects=refs, item_count=4))

    np.testing.assert_array_equal(IMAGES, items.groups[0].rows.only)


def test_images_have_the_dtype_that_the_model_takes(jobs: JobStore) -> None:
    refs = [stored(jobs, "0.png", png(IMAGES[0]))]

    items = read(jobs, ShardInput(format="image", objects=refs, item_count=1), dtype="float32")

    assert np.float32 == items.groups[0].rows.only.dtype


def test_images_that_are_all_bad_leave_no_rows(jobs: JobStore) -> None:
    refs = [stored(jobs, f"{n}.png", b"no image") for n in range(2)]

    items = read(jobs, ShardInput(format="image", objects=refs, item_count=2))

    assert [] == items.groups
    assert [0, 1] == [error.index for error in items.errors]


def test_an_image_that_changed_since_submission_fails_alone(jobs: JobStore) -> None:
    kept, changed = (png(image) for image in IMAGES[:2])
    refs = []
    for name, data in (("kept.png", kept), ("changed.png", changed)):
        jobs.objects.put(name, data, bucket="theirs")
        etag = jobs.objects.get(name, bucket="theirs").etag
        refs.append(ObjectRef(key=name, bucket="theirs", size_bytes=len(data), etag=etag))
    jobs.objects.put("changed.png", changed[:-1] + b"!", bucket="theirs")

    items = read(jobs, ShardInput(format="image", objects=refs, item_count=2))

    assert [0] == list(items.groups[0].positions)
    assert ["changed.png was changed"] == [error.reason[:23] for error in items.errors]


def test_reasons_stay_short(jobs: JobStore) -> None:
    ref = stored(jobs, "k" * 900, b"no image")

    items = read(jobs, ShardInput(format="image", objects=[ref], item_count=1))

    assert 500 == len(items.errors[0].reason)


@pytest.mark.parametrize("kind", ["npy", "image"])
def test_objects_that_do_not_match_the_count_are_the_inputs_fault(
    jobs: JobStore, kind: str
) -> None:
    refs = [stored(jobs, f"{n}", to_npy(IMAGES)) for n in range(2)]

    with pytest.raises(InputError, match="2 objects"):
        read(jobs, ShardInput(format=kind, objects=refs, item_count=4))


def test_a_bucket_of_others_that_cannot_be_read_is_the_items_fault(jobs: JobStore) -> None:
    ref = ObjectRef(key="0.png", bucket="theirs", size_bytes=1)
    reasons = set()
    for error in (BucketNotFoundError("no bucket"), StoreAccessError("AccessDenied")):
        jobs.objects.error = error

        items = read(jobs, ShardInput(format="image", objects=[ref], item_count=1))
        with pytest.raises(InputError) as info:
            read(jobs, ShardInput(objects=[ref], item_count=1))

        reasons |= {str(info.value), *(error.reason for error in items.errors)}
    # They say nothing of the object or the bucket.
    (reason,) = reasons
    assert "gives workers no object 's3://theirs/0.png'" in reason


def test_a_store_that_fails_for_now_is_nobodys_fault(jobs: JobStore) -> None:
    jobs.objects.error = StoreUnavailableError("503")
    ref = ObjectRef(key="0.png", bucket="theirs", size_bytes=1)

    with pytest.raises(StoreUnavailableError):
        read(jobs, ShardInput(format="image", objects=[ref], item_count=1))


def test_missing_and_changed_arrays_are_told_apart(jobs: JobStore) -> None:
    shard = array_shard(jobs, IMAGES)
    jobs.objects.put("in.npy", b"x" * shard.objects[0].size_bytes)
    with pytest.raises(IntegrityError, match=r"in\.npy does not match its sha256"):
        read(jobs, shard)

    jobs.objects.delete("in.npy")
    with pytest.raises(ObjectNotFoundError, match=r"in\.npy is gone"):
        read(jobs, shard)
