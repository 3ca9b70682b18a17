"""Objects already in the store: the shards they become, and those that are refused."""

import struct

import numpy as np
import pytest

from fornada.errors import InputError, UsageError
from fornada.formats.npy import to_npy
from fornada.jobs.manifest import ShardInput
from fornada.storage.memory import InMemoryObjectStore
from producer.inputs.interface import Signature, StoredImages
from producer.inputs.stored_images import shards_of

BUCKET = "lake"
IMAGES = np.arange(6 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5)
SHAPE = (4, 5)


def store_with(contents: dict[str, bytes]) -> InMemoryObjectStore:
    objects = InMemoryObjectStore()
    for key, data in contents.items():
        objects.put(key, data, bucket=BUCKET)
    return objects


def shards(
    contents: dict[str, bytes] | InMemoryObjectStore,
    *,
    prefix: str = "photos/",
    item_shape: tuple[int, ...] = SHAPE,
    items_per_shard: int = 100,
    max_shard_bytes: int = 10_000,
    strict: bool = False,
) -> list[ShardInput]:
    return shards_of(
        StoredImages(bucket=BUCKET, prefix=prefix),
        objects=store_with(contents) if isinstance(contents, dict) else contents,
        signature=Signature(item_shape=item_shape, item_dtype="uint8", model="m:1"),
        items_per_shard=items_per_shard,
        max_shard_bytes=max_shard_bytes,
        strict=strict,
    )


def keys_of(inputs: list[ShardInput]) -> list[list[str]]:
    return [[ref.key for ref in part.objects] for part in inputs]


def test_urls_are_parsed() -> None:
    for url, bucket, prefix in (
        ("s3://lake/photos/2024/", "lake", "photos/2024/"),
        ("s3://lake/a b#ü?.png", "lake", "a b#ü?.png"),
        ("s3://lake/", "lake", ""),
        ("s3://lake", "lake", ""),
    ):
        assert StoredImages(bucket=bucket, prefix=prefix) == StoredImages.parse(url)


def test_other_urls_are_refused() -> None:
    for url in ("", "s3://", "s3:///photos", "http://lake/x", "photos/"):
        with pytest.raises(UsageError, match="write s3://bucket/prefix"):
            StoredImages.parse(url)


def test_each_npy_object_is_a_shard_in_key_order() -> None:
    contents = {f"photos/{n:02}.npy": to_npy(IMAGES[: n % 6 + 1]) for n in reversed(range(20))}

    found = shards(contents)

    assert [[f"photos/{n:02}.npy"] for n in range(20)] == keys_of(found)
    assert [n % 6 + 1 for n in range(20)] == [part.item_count for part in found]
    assert {"npy"} == {part.format for part in found}


def test_size_and_etag_are_recorded_and_no_digest_or_ids() -> None:
    contents = {"photos/a.npy": to_npy(IMAGES)}
    (info,) = store_with(contents).list("", bucket=BUCKET)

    (part,) = shards(contents)

    (ref,) = part.objects
    assert (BUCKET, info.size_bytes, info.etag) == (ref.bucket, ref.size_bytes, ref.etag)
    assert (None, None) == (ref.sha256, part.item_ids)


def test_a_grey_axis_fits() -> None:
    for images in (IMAGES[..., np.newaxis], IMAGES):
        for item_shape in (SHAPE, (*SHAPE, 1)):
            (part,) = shards({"photos/a.npy": to_npy(images)}, item_shape=item_shape)
            assert 6 == part.item_count


def test_images_share_shards_up_to_their_number_and_their_size_stored_and_decoded() -> None:
    found = shards({f"photos/{n}.png": b"png" for n in range(5)}, items_per_shard=2)

    assert [
        ["photos/0.png", "photos/1.png"],
        ["photos/2.png", "photos/3.png"],
        ["photos/4.png"],
    ] == keys_of(found)
    assert [2, 2, 1] == [part.item_count for part in found]
    assert {"image"} == {part.format for part in found}
    stored = {f"photos/{n}.jpeg": bytes(60) for n in range(4)}
    assert [2, 2] == [part.item_count for part in shards(stored, max_shard_bytes=130)]
    decoded = {f"photos/{n}.JPG": b"j" for n in range(4)}
    assert [3, 1] == [part.item_count for part in shards(decoded, max_shard_bytes=3 * 20)]


def test_arrays_and_images_stay_in_key_order() -> None:
    array = to_npy(IMAGES)
    contents = {
        "photos/a.png": b"",
        "photos/b.npy": array,
        "photos/c.png": b"",
        "photos/d.png": b"",
    }

    found = shards(contents)

    assert [["photos/a.png"], ["photos/b.npy"], ["photos/c.png", "photos/d.png"]] == keys_of(found)
    assert [1, 6, 2] == [part.item_count for part in found]


def test_other_buckets_and_prefixes_and_marks_of_folders_are_passed_over() -> None:
    objects = store_with({"photos/a.png": b"x", "other/b.png": b"x", "photos/": b""})
    objects.put("photos/own.png", b"x")

    assert [["photos/a.png"]] == keys_of(shards(objects))


HUGE = (
    b"\x93NUMPY\1\0"
    + struct.pack("<H", 80)
    + (b"{'descr': '|u1', 'fortran_order': False, 'shape': (5000000000, 4, 5)}".ljust(80))
)


def test_what_cannot_be_used_is_refused() -> None:
    for contents, reason in (
        ({}, r"s3://lake/photos/ has no objects; check bucket and prefix"),
        ({"photos/": b""}, "has no objects"),
        ({"photos/a.npy": to_npy(IMAGES), "photos/b.txt": b"x"}, r"b\.txt is neither"),
        ({"photos/a.npy": b"hello"}, r"s3://lake/photos/a\.npy is not a readable \.npy"),
        ({"photos/a.npy": b""}, r"is not a readable \.npy"),
        ({"photos/a.npy": to_npy(IMAGES)[:-1]}, "truncated or damaged"),
        ({"photos/a.npy": HUGE + bytes(1000)}, "claims 100000000000 bytes .* and has 1000"),
        ({"photos/a.npy": to_npy(IMAGES[:0])}, "is empty; give at least one item"),
        ({"photos/a.npy": to_npy(np.array(1, np.uint8))}, "is empty"),
        ({"photos/a.npy": to_npy(IMAGES[:, :3])}, r"shape \(3, 5\), but m:1 takes \(4, 5\)"),
        ({"photos/a.npy": to_npy(IMAGES.astype("int64"))}, "dtype int64, but m:1 takes uint8"),
        ({"photos/a.npy": to_npy(np.zeros((900, 4, 5), np.uint8))}, "has 18128 bytes.*split it"),
        ({"photos/a.png": bytes(10_001)}, "has 10001 bytes.*split it"),
    ):
        with pytest.raises(InputError, match=reason) as caught:
            shards(contents)

        assert "\n" not in str(caught.value)


def test_other_objects_among_images_are_items_and_hidden_ones_are_not() -> None:
    names = ["a.png", "b.txt", "c", ".hidden.png", "sub/Thumbs.db"]
    contents = {f"photos/{name}": b"x" for name in names}

    assert [["photos/a.png", "photos/b.txt", "photos/c"]] == keys_of(shards(contents))
    with pytest.raises(InputError, match=r"b\.txt is neither"):
        shards(contents, strict=True)


def test_a_model_that_takes_no_images_takes_arrays_alone() -> None:
    with pytest.raises(InputError, match="neither grey nor RGB images"):
        shards({"photos/a.png": b"x"}, item_shape=(13,))
    (part,) = shards({"photos/a.npy": to_npy(np.zeros((3, 13), np.uint8))}, item_shape=(13,))
    assert 3 == part.item_count
