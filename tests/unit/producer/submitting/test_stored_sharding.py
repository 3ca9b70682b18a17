"""Objects already in the store: the shards they become, and those that are refused."""

import io
import struct
import tarfile
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest

from fornada.errors import InputError, InputNotAllowedError, ObjectArchivedError, UsageError
from fornada.formats.npy import to_npy
from fornada.jobs.shard_files import fetch_archive
from fornada.jobs.shard_inputs import ShardInput
from fornada.jobs.store import JobStore
from fornada.settings import Settings
from fornada.storage.memory import InMemoryObjectStore
from fornada.tensors import InputTensor, OutputTensor
from fornada.trust.input_prefixes import InputPrefixes
from producer.inputs.interface import Selection, Signature, StoredImages
from producer.submitting.sharding import items_per_shard_for
from producer.submitting.shards import ShardLimits
from producer.submitting.stored.sharding import cut_stored
from producer.submitting.upload import upload

BUCKET = "lake"
IMAGES = np.arange(6 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5)
SHAPE = (4, 5)
ALL = InputPrefixes.from_settings(Settings(input_prefixes=f"s3://{BUCKET}/"))


def store_with(contents: dict[str, bytes]) -> InMemoryObjectStore:
    objects = InMemoryObjectStore()
    for key, data in contents.items():
        objects.put(key, data, bucket=BUCKET)
    return objects


def shards(
    contents: dict[str, bytes] | InMemoryObjectStore,
    *,
    prefix: str = "photos/",
    item_shape: tuple[int | None, ...] = SHAPE,
    items_per_shard: int = 100,
    max_shard_bytes: int = 10_000,
    strict: bool = False,
    stored: StoredImages | None = None,
    prefixes: InputPrefixes = ALL,
    inputs: Sequence[InputTensor] | None = None,
    outputs: Sequence[OutputTensor] = (),
) -> list[ShardInput]:
    objects = store_with(contents) if isinstance(contents, dict) else contents
    taken = InputTensor(name="x", dtype="uint8", shape=list(item_shape))
    signature = Signature(inputs=inputs or [taken], outputs=outputs, model="m:1")
    count = items_per_shard_for(
        signature, items_per_shard=items_per_shard, max_shard_bytes=max_shard_bytes
    )
    found = cut_stored(
        stored or StoredImages(bucket=BUCKET, prefix=prefix),
        objects=objects,
        prefixes=prefixes,
        signature=signature,
        limits=ShardLimits.of(signature, item_count=count, max_shard_bytes=max_shard_bytes),
        strict=strict,
    )
    return list(upload(found.shards, job_id="job", objects=objects, store=True))


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


def test_a_npy_object_of_large_outputs_is_several_shards() -> None:
    contents = {"photos/a.npy": to_npy(IMAGES[:1]), "photos/b.npy": to_npy(IMAGES[:5])}
    mask = OutputTensor(name="mask", shape=[10, 100], kind="tensor")

    found = shards(contents, outputs=[mask])

    # Two masks of 4,000 bytes fit into a shard of 10,000.
    assert [None, [[0, 1]], [[2, 3]], [[4, 4]]] == [
        part.selected and [list(pair) for pair in part.selected] for part in found
    ]
    assert [None, 1, 1, 1] == [part.first_item for part in found]
    assert [1, 2, 2, 1] == [part.item_count for part in found]


def test_stored_objects_hold_items_of_one_input() -> None:
    for inputs, why in (
        ([InputTensor(name=n, dtype="uint8", shape=[2]) for n in "ab"], "holds items of one input"),
        ([InputTensor(name="x", dtype="string", shape=[])], "takes texts, and s3://"),
    ):
        with pytest.raises(InputError, match=why):
            shards({"photos/a.npy": to_npy(IMAGES)}, inputs=inputs)


def test_each_npy_object_is_a_shard_in_key_order() -> None:
    contents = {f"photos/{n:02}.npy": to_npy(IMAGES[: n % 6 + 1]) for n in reversed(range(20))}

    found = shards(contents)

    assert [[f"photos/{n:02}.npy"] for n in range(20)] == keys_of(found)
    assert [n % 6 + 1 for n in range(20)] == [part.item_count for part in found]
    assert {"npy"} == {part.format for part in found}


class _Counting(InMemoryObjectStore):
    """Counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def get(self, key, *, bucket=None, max_bytes=None):  # noqa: ANN001, ANN202 - as the base
        self.read.append(key)
        return super().get(key, bucket=bucket, max_bytes=max_bytes)


def test_of_many_arrays_those_are_looked_at_whose_sizes_leave_a_doubt() -> None:
    first = [f"photos/{n:02}.npy" for n in range(8)]
    for side, odd in ((2, [f"photos/{n}.npy" for n in (20, 21)]), (12, ["photos/22.npy"])):
        objects = _Counting()
        for number in range(40):
            # One more item, two more, and an older NumPy's header.
            count = 6 + {20: 1, 21: 2, 30: 2}.get(number, 0)
            data = to_npy(np.zeros((count, side, side), np.uint8))
            if number == 22 and side == 12:
                data = _with_short_header(data)
            objects.put(f"photos/{number:02}.npy", data, bucket=BUCKET)

        found = shards(objects, item_shape=(side, side))

        assert [6] * 20 + [7, 8] + [6] * 8 + [8] + [6] * 9 == [part.item_count for part in found]
        # Items of 4 bytes could have headers of several lengths; those of 144 cannot.
        assert first + odd == sorted(objects.read)


def _with_short_header(data: bytes) -> bytes:
    """The same array as NumPy before 1.14 wrote it, with a header of a multiple of 16 bytes."""
    text = data[10:128].rstrip().ljust(80 - 11) + b"\n"
    return data[:8] + struct.pack("<H", len(text)) + text + data[128:]


def test_all_arrays_are_looked_at_if_one_bad_is_too_many_or_shapes_vary() -> None:
    for strict, item_shape in ((True, (4, 5)), (False, (None, 5))):
        objects = _Counting()
        for number in range(40):
            dtype = np.uint8 if number < 39 else np.int8
            images = to_npy(np.zeros((6, 4, 5), dtype))
            objects.put(f"photos/{number:02}.npy", images, bucket=BUCKET)

        with pytest.raises(InputError, match=r"39\.npy: dtype int8, but m:1 takes uint8"):
            shards(objects, item_shape=item_shape, strict=strict)

        assert 40 == len(objects.read)


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
        ({"photos/b.dat": b"x"}, r"b\.dat is no image, and no .*; name a prefix without such"),
        ({"photos/a.npy": b"hello"}, r"s3://lake/photos/a\.npy is not a readable \.npy"),
        ({"photos/a.npy": b""}, r"is not a readable \.npy"),
        ({"photos/a.npy": to_npy(IMAGES)[:-1]}, "truncated or damaged"),
        ({"photos/a.npy": HUGE + bytes(1000)}, "claims 100000000000 bytes .* and has 1000"),
        ({"photos/a.npy": to_npy(IMAGES[:0])}, "is empty; give at least one item"),
        ({"photos/a.npy": to_npy(np.array(1, np.uint8))}, "is a single value"),
        ({"photos/a.npy": to_npy(IMAGES[:, :3])}, r"shape \(3, 5\), but m:1 takes \(4, 5\)"),
        ({"photos/a.npy": to_npy(IMAGES.astype("int64"))}, "dtype int64, but m:1 takes uint8"),
        ({"photos/a.npy": to_npy(np.zeros((900, 4, 5), np.uint8))}, "has 18128 bytes.*split it"),
        ({"photos/a.tar": b"x" * 600}, r"a\.tar is a damaged tar archive"),
        ({"photos/a.tar": archive({"a.txt": b"x"})}, r"a\.tar has no image file"),
        ({"photos/a.tar": archive({"a.png": b"x"})[:514]}, "damaged tar archive"),
    ):
        with pytest.raises(InputError, match=reason) as caught:
            shards(contents)

        assert "\n" not in str(caught.value)


def test_include_chooses_files_in_archives_too() -> None:
    some = archive({"raw/a.png": b"a", "web/b.png": b"b"})
    none = archive({"raw/c.png": b"c"})
    objects = store_with({"photos/a.tar": some, "photos/b.tar": none, "photos/web/d.png": b"d"})
    stored = StoredImages(bucket=BUCKET, prefix="photos/", selection=Selection(include=["web/*"]))

    in_archive, alone = shards(objects, stored=stored)

    assert {"photos/a.tar/web/b.png": b"b"} == contents_of(in_archive, objects)
    assert [["photos/web/d.png"]] == keys_of([alone])
    assert ["s3://lake/photos/b.tar has no image file that is included"] == stored.left_out.reasons
    # An archive that is named itself is meant whole.
    whole = StoredImages(bucket=BUCKET, prefix="photos/", selection=Selection(include=["a.tar"]))
    assert 2 == len(contents_of(shards(objects, stored=whole)[0], objects))
    nothing = StoredImages(bucket=BUCKET, prefix="photos/", selection=Selection(include=["*.gif"]))
    with pytest.raises(InputError, match="no file that is included; check include"):
        shards(objects, stored=nothing)


def test_what_no_job_may_read_is_refused_with_the_list() -> None:
    some = InputPrefixes.from_settings(
        Settings(s3_bucket=BUCKET, input_prefixes=f"s3://{BUCKET}/photos/2026")
    )
    objects = store_with({f"photos/{n}/a.png": b"x" for n in range(2020, 2027)})
    for prefix, said in (
        ("photos/2025/", f"may not read s3://lake/photos/2025/, only s3://{BUCKET}/photos/2026; c"),
        ("models/", "may not read s3://lake/models/"),
        # Without the names of what is none of the caller's business.
        ("photos/", f"can read: 6 outside s3://{BUCKET}/photos/2026; rename"),
    ):
        with pytest.raises(InputNotAllowedError) as refusal:
            shards(objects, prefix=prefix, prefixes=some)
        assert said in str(refusal.value)
    assert [["photos/2026/a.png"]] == keys_of(shards(objects, prefix="photos/2026", prefixes=some))
    # What is excluded is not looked at.
    selection = Selection(include=["2026/*"])
    stored = StoredImages(bucket=BUCKET, prefix="photos/", selection=selection)
    assert [["photos/2026/a.png"]] == keys_of(shards(objects, stored=stored, prefixes=some))


def test_objects_that_the_store_refuses_are_listed() -> None:
    class Archived(InMemoryObjectStore):
        def get(self, key, *, bucket=None, max_bytes=None):  # noqa: ANN001, ANN202 - as the base
            if "cold" in key:
                raise ObjectArchivedError("archived")
            return super().get(key, bucket=bucket, max_bytes=max_bytes)

    for kind in (".npy", ""):
        objects = Archived()
        for name in ("warm", "cold-1", "cold-2"):
            objects.put(f"photos/{name}{kind}", to_npy(IMAGES), bucket=BUCKET)
        with pytest.raises(InputError) as refusal:
            shards(objects)
        listed = "; ".join(f"s3://lake/photos/cold-{n}{kind} (archived)" for n in (1, 2))
        assert f"the store gives no object {listed}" in str(refusal.value)


def test_objects_that_are_no_items_are_left_out_and_listed() -> None:
    names = ["a.png", "b.dat", "c", ".hidden.png", "sub/Thumbs.db", ".git/d.png", "__MACOSX/a.png"]
    contents = {f"photos/{name}": b"x" for name in names} | {"photos/d": b"GIF89a"}
    stored = StoredImages(bucket=BUCKET, prefix="photos/")

    assert [["photos/a.png", "photos/d"]] == keys_of(shards(contents, stored=stored))
    assert (2, ["s3://lake/photos/b.dat", "s3://lake/photos/c"]) == (
        stored.left_out.count,
        [reason.partition(" is no image")[0] for reason in stored.left_out.reasons],
    )
    with pytest.raises(InputError, match=r"b\.dat is no image.*photos/c is no image"):
        shards(contents, strict=True)


def test_patterns_include_and_exclude_by_name_and_by_path() -> None:
    contents = {f"photos/{name}": b"x" for name in ("a.png", "b.jpg", "sub/c.png", "thumbs/d.png")}
    selection = Selection(include=["*.png"], exclude=["thumbs/*"])
    stored = StoredImages(bucket=BUCKET, prefix="photos/", selection=selection)

    assert [["photos/a.png", "photos/sub/c.png"]] == keys_of(shards(contents, stored=stored))
    assert 0 == stored.left_out.count


def test_an_image_that_is_too_large_fails_alone() -> None:
    contents = {"photos/a.png": bytes(10_001), "photos/b.png": b"x"}

    (found,) = shards(contents)

    assert 2 == found.item_count
    assert [(0, "s3://lake/photos/a.png has more than 10000 bytes")] == [
        (error.index, error.reason[:48]) for error in found.item_errors
    ]


# Archives.


def archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def contents_of(shard: ShardInput, objects: InMemoryObjectStore) -> dict[str, bytes]:
    """Id -> bytes of each file of a shard, as a worker reads them."""
    jobs = JobStore(objects=objects)
    files = fetch_archive(shard, fetch=jobs.read_checked)
    return dict(zip(files.names, map(bytes, files.contents), strict=True))  # type: ignore[arg-type]


def test_a_stored_archive_becomes_ranges_of_itself_and_nothing_is_copied() -> None:
    photos = {f"./{n}/{n:03}.jpg": bytes([n]) * (n * 30 % 700) for n in range(40)}
    files = {"./README": b"x", **photos, "./labels.csv": b"y", "./no suffix": b"GIF89a"}
    data = archive(files)
    objects = store_with({"photos/a.tar": data, "photos/b.png": b"x"})
    stored = StoredImages(bucket=BUCKET, prefix="photos/")

    *parts, image = shards(objects, items_per_shard=7, stored=stored)

    assert ["photos/b.png"] == [ref.key for ref in image.objects]
    etag = objects.get("photos/a.tar", bucket=BUCKET).etag
    refs = [ref for part in parts for ref in part.objects]
    assert {("photos/a.tar", BUCKET, etag)} == {(r.key, r.bucket, r.etag) for r in refs}
    assert [7, 7, 7, 7, 7, 6] == [part.item_count for part in parts]
    expected = {f"photos/a.tar/{n.removeprefix('./')}": d for n, d in photos.items()}
    expected["photos/a.tar/no suffix"] = b"GIF89a"
    found = [item for part in parts for item in contents_of(part, objects).items()]
    assert list(expected.items()) == found
    uploaded = sum(info.size_bytes for info in objects.list(""))
    assert uploaded < len(data) / 10
    assert 2 == stored.left_out.count


def test_the_headers_of_an_archive_are_read_in_few_requests_and_little_memory() -> None:
    class Counting(InMemoryObjectStore):
        sizes: ClassVar[list[int]] = []

        def get_range(self, key, *, first_byte, size_bytes, bucket=None):  # noqa: ANN001, ANN202 - as the base
            self.sizes.append(size_bytes)
            return super().get_range(
                key, first_byte=first_byte, size_bytes=size_bytes, bucket=bucket
            )

    near, far = Counting(), Counting()
    near.put("a.tar", archive({f"{n}.png": bytes(5_000) for n in range(2_000)}), bucket=BUCKET)
    far.put("a.tar", archive({f"{n}.png": bytes(3_000_000) for n in range(4)}), bucket=BUCKET)
    for objects, most_requests, most_bytes in ((near, 5, 4 * 2**20), (far, 12, 2**20)):
        Counting.sizes.clear()

        found = shards(objects, prefix="a.tar", max_shard_bytes=2**23)

        assert len(found) > 1
        assert len(Counting.sizes) <= most_requests
        assert max(Counting.sizes) <= most_bytes


def test_a_file_in_an_archive_that_is_too_large_fails_alone() -> None:
    files = {"a.png": b"a" * 100, "b.png": bytes(20_000), "c.png": b"", "d.png": b"d"}
    objects = store_with({"photos/a.tar": archive(files)})

    found = shards(objects)

    files_read = [
        fetch_archive(part, fetch=JobStore(objects=objects).read_checked) for part in found
    ]
    read = [content for files in files_read for content in files.contents]
    assert [b"a" * 100, b"", b"d"] == [bytes(read[n]) for n in (0, 2, 3)]
    assert "photos/a.tar/b.png has more than 10000 bytes" in read[1]


def test_a_model_that_takes_no_images_takes_arrays_alone() -> None:
    with pytest.raises(InputError, match="neither grey nor RGB images"):
        shards({"photos/a.png": b"x"}, item_shape=(13,))
    (part,) = shards({"photos/a.npy": to_npy(np.zeros((3, 13), np.uint8))}, item_shape=(13,))
    assert 3 == part.item_count
