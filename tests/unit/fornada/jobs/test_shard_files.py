"""A shard's image files: which bytes are read, how they are decoded, whose fault it is if not."""

import io
import json
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from fornada.errors import InputError, IntegrityError
from fornada.formats.images import DecoderPool, decode_item
from fornada.formats.tar import Span
from fornada.jobs.shard_files import ImageFiles, fetch_archive
from fornada.jobs.shard_inputs import ShardInput
from fornada.jobs.store import JobStore
from fornada.records import ItemError, ObjectRef
from fornada.storage.memory import InMemoryObjectStore
from fornada.tensors import ImagePreprocessing, InputTensor
from producer.inputs.interface import ImageFile, Signature
from producer.submitting.file_sharding import cut_files
from producer.submitting.shards import ShardLimits
from producer.submitting.upload import try_inline, upload

TAKEN = InputTensor(name="x", dtype="float32", shape=[6, 8, 3], image=ImagePreprocessing())
OPEN = InputTensor(
    name="x", dtype="uint8", shape=[None, None, 3], image=ImagePreprocessing(resize="none")
)


class _Store(InMemoryObjectStore):
    """Notes what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.whole: list[str] = []
        self.ranges: list[tuple[int, int]] = []

    def get(self, key, *, bucket=None, max_bytes=None):  # noqa: ANN001, ANN202 - as the base
        self.whole.append(key)
        return super().get(key, bucket=bucket, max_bytes=max_bytes)

    def get_range(self, key, *, first_byte, size_bytes, bucket=None):  # noqa: ANN001, ANN202 - as the base
        self.ranges.append((first_byte, size_bytes))
        found = super().get(key, bucket=bucket)
        return type(found)(data=found.data[first_byte : first_byte + size_bytes], etag=found.etag)


def png(seed: int, size: tuple[int, int] = (6, 8), **how: object) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **how)
    return file.getvalue()


def shard_of(files: list[bytes], objects: _Store, *, inline: bool = False) -> ShardInput:
    given = [
        ImageFile(name=f"{n}.png", data=data, item_id=f"photo {n}") for n, data in enumerate(files)
    ]
    shards = cut_files(
        given,
        first_number=0,
        signature=Signature(inputs=[TAKEN], model="m:1"),
        limits=ShardLimits(item_count=100, archive_bytes=10**7, file_bytes=10**7),
        strict=False,
    )
    if inline:
        inputs, _ = try_inline(shards, max_bytes=10**5)
        assert inputs is not None
        return inputs[0]
    (shard,) = upload(shards, job_id="job", objects=objects, store=True)
    objects.whole.clear()
    return shard


def fetched(shard: ShardInput, objects: _Store) -> ImageFiles:
    return fetch_archive(shard, fetch=JobStore(objects=objects).read_checked)


@pytest.mark.parametrize("inline", [False, True])
def test_files_of_an_archive_are_its_items_in_order(inline: bool) -> None:  # noqa: FBT001
    objects = _Store()
    files = [png(n, (5 + n, 9 - n)) for n in range(5)]
    files[2] = b"no image"
    shard = shard_of(files, objects, inline=inline)

    decoded = fetched(shard, objects).decoded(TAKEN, pool=None)

    (group,) = decoded.items.groups
    assert [0, 1, 3, 4] == list(group.positions)
    expected = [decode_item(files[n], taken=TAKEN, where="x") for n in group.positions]
    np.testing.assert_array_equal(np.stack(expected), group.rows.only)
    (error,) = decoded.items.errors
    assert (2, "photo 2 is not an image") == (error.index, error.reason[:23])
    assert ([], 3 * (not inline)) == (objects.ranges, len(objects.whole))


def test_a_few_selected_files_are_read_alone_and_checked() -> None:
    objects = _Store()
    files = [png(n, (40, 40)) for n in range(20)]
    shard = shard_of(files, objects)

    read = fetched(shard.select([3, 17]), objects)

    assert [files[3], files[17]] == list(read.contents)
    assert ["photo 3", "photo 17"] == list(read.names)
    assert [len(files[3]), len(files[17])] == sorted(size for _, size in objects.ranges)
    assert shard.objects[0].key not in objects.whole
    # and most of them with the others
    objects.ranges.clear()
    most = fetched(shard.select(range(15)), objects).contents
    assert files[:15] == [bytes(each) for each in most]
    assert [] == objects.ranges
    # and a byte that has changed is found either way
    archive = bytearray(objects.get(shard.objects[0].key).data)
    archive[archive.index(files[3]) + 60] ^= 1
    objects.put(shard.objects[0].key, bytes(archive))
    for selected in ([3], range(20)):
        with pytest.raises(IntegrityError, match="does not match its sha256"):
            fetched(shard.select(selected), objects)
    assert [files[4]] == list(fetched(shard.select([4]), objects).contents)


@pytest.mark.parametrize("inline", [False, True])
def test_selected_files_are_those_that_are_read_however_few_there_are(inline: bool) -> None:  # noqa: FBT001
    objects = _Store()
    files = [png(n, (40, 40)) for n in range(6)]
    shard = shard_of(files, objects, inline=inline)

    for selected in ([0], [5], [1, 4], [1, 2, 3, 5], list(range(6))):
        read = fetched(shard.select(selected), objects)

        assert [files[n] for n in selected] == [bytes(content) for content in read.contents]
        assert [f"photo {n}" for n in selected] == list(read.names)


def test_an_index_that_has_changed_is_found() -> None:
    objects = _Store()
    shard = shard_of([png(0), png(0, (7, 9))], objects)
    assert shard.index is not None
    index = objects.get(shard.index.key).data

    # Of the same size.
    changed = json.dumps(json.loads(index)[::-1], separators=(",", ":")).encode()
    objects.put(shard.index.key, changed)

    assert (len(index), True) == (len(changed), index != changed)
    with pytest.raises(IntegrityError, match="sha256"):
        fetched(shard, objects)


def test_ranges_of_archives_of_others_are_checked_by_their_etag() -> None:
    objects = _Store()
    objects.put("a.tar", b"....onetwo....", bucket="theirs")
    etag = objects.get("a.tar", bucket="theirs").etag
    part = ObjectRef(key="a.tar", bucket="theirs", first_byte=4, size_bytes=6, etag=etag)
    objects.put("i.json", b"[[0,3],[3,3]]")
    index = ObjectRef.of("i.json", b"[[0,3],[3,3]]")
    shard = ShardInput(format="tar", objects=[part], item_count=2, index=index)

    assert [b"one", b"two"] == [bytes(each) for each in fetched(shard, objects).contents]
    assert [(4, 6)] == objects.ranges
    objects.put("a.tar", b"....oneTwo....", bucket="theirs")
    with pytest.raises(IntegrityError, match="was changed after it was recorded"):
        fetched(shard, objects)


def test_an_archive_with_other_files_than_the_job_says_is_the_inputs_fault() -> None:
    objects = _Store()
    shard = shard_of([png(0), png(1)], objects)
    assert shard.index is not None

    for changed in (
        {"item_count": 3},
        {"item_count": 1},
        {"index": None, "item_count": 3},
        {"objects": [*shard.objects, *shard.objects]},
        {"index": ObjectRef.of("x", b"[[0,99999999],[0,1]]", inline=True)},
        {"index": ObjectRef.of("x", b"no json", inline=True)},
        {"objects": [ObjectRef.of("x", b"no tar" * 100, inline=True)], "index": None},
    ):
        with pytest.raises(InputError):
            fetched(shard.model_copy(update=changed), objects)


def test_files_that_the_submitter_could_not_read_are_not_decoded() -> None:
    objects = _Store()
    shard = shard_of([png(0), png(1)], objects).model_copy(
        update={"item_errors": [ItemError(index=1, reason="was on fire")]}
    )

    items = fetched(shard, objects).decoded(TAKEN, pool=None).items

    assert [0] == list(items.groups[0].positions)
    assert [(1, "was on fire")] == [(error.index, error.reason) for error in items.errors]


def test_images_of_any_size_are_grouped_by_shape() -> None:
    files = [png(n, size) for n, size in enumerate([(3, 4), (5, 5), (3, 4)])]

    items = ImageFiles(contents=files, names=["a", "b", "c"]).decoded(OPEN, pool=None).items

    assert {(3, 4, 3): [0, 2], (5, 5, 3): [1]} == {
        group.rows.only.shape[1:]: list(group.positions) for group in items.groups
    }


def test_the_threads_of_the_pool_decode_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    files = ImageFiles(contents=[png(n) for n in range(30)], names=[str(n) for n in range(30)])
    names: set[str] = set()

    def decode(data: bytes, *, taken: InputTensor, where: str) -> np.ndarray:
        names.add(threading.current_thread().name.partition("_")[0])
        return decode_item(data, taken=taken, where=where)

    monkeypatch.setattr("fornada.jobs.shard_files.decode_item", decode)
    with DecoderPool(2) as pool:
        pooled = files.decoded(TAKEN, pool=pool)

    assert {"decoder"} == names
    alone = files.decoded(TAKEN, pool=None)
    np.testing.assert_array_equal(alone.items.groups[0].rows.only, pooled.items.groups[0].rows.only)


def test_a_thread_of_the_pool_has_one_task_for_all_files_that_it_decodes() -> None:
    submitted = []

    class Pool(DecoderPool):
        def submit(self, fn, /, *args, **kwargs):  # noqa: ANN001, ANN002, ANN003, ANN202 - as the base
            submitted.append(fn)
            return super().submit(fn, *args, **kwargs)

    files = ImageFiles(contents=[png(n) for n in range(30)], names=[str(n) for n in range(30)])

    with Pool(4) as pool:
        items = files.decoded(TAKEN, pool=pool).items

    assert (4, 30) == (len(submitted), len(items.groups[0].rows))


def test_what_a_decoder_raises_beyond_a_bad_file_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(data: bytes, *, taken: InputTensor, where: str) -> np.ndarray:
        if where == "17":
            raise MemoryError
        return decode_item(data, taken=taken, where=where)

    monkeypatch.setattr("fornada.jobs.shard_files.decode_item", decode)
    files = ImageFiles(contents=[png(n) for n in range(30)], names=[str(n) for n in range(30)])

    with DecoderPool(2) as pool, pytest.raises(MemoryError):
        files.decoded(TAKEN, pool=pool)


def test_a_file_that_this_worker_cannot_decode_fails_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heic = bytes.fromhex("00000018") + b"ftypheic" + bytes(4) + b"mif1heic"
    monkeypatch.setitem(sys.modules, "pillow_heif.as_plugin", None)
    files = ImageFiles(contents=[png(0), heic], names=["a.png", "b.heic"])

    (error,) = files.decoded(TAKEN, pool=None).items.errors

    assert error.index == 1
    assert (
        "b.heic is a HEIC image, and what decodes it is not installed; pip install "
        "'fornada[heic]' with every worker, then run: fornada jobs retry-failed"
    ) == error.reason


def test_orientations_are_counted_where_they_are_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = Image.fromarray(np.zeros((6, 8, 3), np.uint8))
    turned = io.BytesIO()
    pixels.save(turned, "JPEG", exif=exif)
    files = ImageFiles(contents=[turned.getvalue(), png(0), b"no image"], names=["a", "b", "c"])
    obeyed = TAKEN.model_copy(update={"image": ImagePreprocessing(exif=True)})

    assert 1 == files.decoded(TAKEN, pool=None).orientations_ignored
    assert 0 == files.decoded(obeyed, pool=None).orientations_ignored


def test_a_model_that_takes_no_images_refuses_the_shard() -> None:
    vectors = InputTensor(name="x", dtype="float32", shape=[4])

    with pytest.raises(InputError, match="neither grey nor RGB images"):
        ImageFiles(contents=[png(0)], names=["a"]).decoded(vectors, pool=None)


def test_ids_that_cannot_be_read_leave_numbers_in_reasons() -> None:
    objects = _Store()
    shard = shard_of([b"no image"], objects)
    for ids in (b"{", b"[]", json.dumps({"a": 1}).encode(), b"[" * 60_000):
        wrong = shard.model_copy(update={"item_ids": ObjectRef.of("x", ids, inline=True)})

        assert ["file 0"] == list(fetched(wrong, objects).names)


def test_spans_are_plain_pairs_with_an_end() -> None:
    assert 7 == Span(3, 4).end_byte
