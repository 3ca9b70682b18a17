"""Streams cut into shards of one size, nothing lost, nothing out of order."""

import io
import tarfile
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fornada.errors import InputError
from fornada.formats.rows import Rows
from fornada.formats.tar import tar_members
from fornada.formats.tensor_file import from_tensor_file
from fornada.records import sha256_hex
from fornada.tensors import InputTensor, OutputTensor
from producer.inputs.interface import ImageFile, ItemBlock, Signature
from producer.submitting.sharding import cut, items_per_shard_for
from producer.submitting.shards import ArrayShard, FileShard, ShardLimits
from producer.submitting.upload import try_inline

SIGNATURE = Signature(inputs=[InputTensor(name="x", dtype="uint8", shape=[2])], model="m:1")


def block(first: int, count: int, *, ids: bool = False) -> ItemBlock:
    numbers = np.arange(first, first + count) % 256
    images = np.stack([numbers, numbers], axis=1).astype(np.uint8)
    item_ids = [str(n) for n in range(first, first + count)] if ids else None
    return ItemBlock(rows=Rows(images), item_ids=item_ids, where=f"block {first}")


def blocks_of(sizes: list[int], *, ids: bool = False) -> list[ItemBlock]:
    firsts = np.cumsum([0, *sizes[:-1]])
    return [block(int(f), s, ids=ids) for f, s in zip(firsts, sizes, strict=True)]


def limits(
    item_count: int = 1000, archive_bytes: int = 10**6, file_bytes: int = 10**6
) -> ShardLimits:
    return ShardLimits(item_count=item_count, archive_bytes=archive_bytes, file_bytes=file_bytes)


def shards_of(blocks: list[ItemBlock], item_count: int) -> list[ArrayShard]:
    return list(cut(blocks, signature=SIGNATURE, limits=limits(item_count), strict=False))


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=20),
    item_count=st.integers(1, 40),
    ids=st.booleans(),
)
def test_all_items_are_there_in_order_in_shards_of_one_size(
    sizes: list[int],
    item_count: int,
    ids: bool,  # noqa: FBT001
) -> None:
    blocks = blocks_of(sizes, ids=ids)

    shards = shards_of(blocks, item_count)

    np.testing.assert_array_equal(
        np.concatenate([b.rows.only for b in blocks]), np.concatenate([s.images for s in shards])
    )
    assert {item_count} >= {len(shard.images) for shard in shards[:-1]}
    assert 1 <= len(shards[-1].images) <= item_count
    if ids:
        assert [str(n) for n in range(sum(sizes))] == [i for s in shards for i in s.item_ids or ()]
    else:
        assert {None} == {shard.item_ids for shard in shards}


def test_a_block_is_taken_only_when_it_is_needed() -> None:
    taken: list[int] = []
    blocks = (taken.append(n) or block(n, 4) for n in range(100))

    next(cut(blocks, signature=SIGNATURE, limits=limits(4), strict=False))

    assert [0] == taken


def test_ids_for_some_items_alone_are_an_error() -> None:
    with pytest.raises(InputError, match="give ids to all"):
        shards_of([block(0, 2, ids=True), block(2, 2)], 4)


def test_a_shard_has_no_more_bytes_than_it_may() -> None:
    for wanted, max_bytes, expected in (
        (10, 10**6, 10),
        (10, 2048, 10),
        (5000, 2048, 1024),
        (5000, 2049, 1024),
        (1, 2, 1),
    ):
        assert expected == items_per_shard_for(
            SIGNATURE, items_per_shard=wanted, max_shard_bytes=max_bytes
        )


def test_outputs_of_a_shard_have_no_more_bytes_than_it_may() -> None:
    mask = OutputTensor(name="mask", shape=[512, 512, 21], kind="tensor")
    masks = Signature(inputs=SIGNATURE.inputs, outputs=[mask], model="m:1")
    for max_bytes, expected in ((2**26, 3), (2**25, 1), (2**28, 12)):
        assert expected == items_per_shard_for(
            masks, items_per_shard=1000, max_shard_bytes=max_bytes
        )
    with pytest.raises(InputError, match="the outputs of one item of m:1 have 22020096 bytes"):
        items_per_shard_for(masks, items_per_shard=1, max_shard_bytes=2**20)


OPEN = Signature(
    inputs=[
        InputTensor(name="tokens", dtype="int64", shape=[None]),
        InputTensor(name="text", dtype="string", shape=[]),
    ],
    outputs=[OutputTensor(name="each", shape=[None, 4], kind="tensor")],
    model="m:1",
)


@given(
    lengths=st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(0, 300)), min_size=1
    ),
    item_count=st.integers(1, 6),
    max_bytes=st.integers(100, 2000),
)
def test_shards_of_many_lengths_hold_all_items_in_order_within_their_bounds(
    lengths: list[tuple[int, int, int]], item_count: int, max_bytes: int
) -> None:
    blocks = [
        ItemBlock(
            rows=Rows(
                np.full((count, tokens), number),
                np.array([bytes([65 + number % 26]) * size] * count, object),
            ),
            item_ids=None,
            where="x",
        )
        for number, (count, tokens, size) in enumerate(lengths)
    ]

    shards = list(
        cut(blocks, signature=OPEN, limits=limits(item_count, file_bytes=max_bytes), strict=False)
    )

    expected = [
        (row.tolist(), text) for b in blocks for row, text in zip(*b.rows.arrays, strict=True)
    ]
    found = [(row.tolist(), text) for s in shards for row, text in zip(*s.columns, strict=True)]
    errors = [
        e.index + sum(s.item_count for s in shards[:n])
        for n, each in enumerate(shards)
        for e in each.errors
    ]
    assert [8 * len(t) + 8 + len(x) > max_bytes for t, x in expected] == [
        n in errors for n in range(len(expected))
    ]
    good = [n for n in range(len(expected)) if n not in errors]
    assert [expected[n] for n in good] == [found[n] for n in good]
    for shard in shards:
        assert shard.item_count <= item_count
        assert shard.size_bytes <= max_bytes
        outputs_bytes = 16 * sum(map(len, shard.columns[0]))
        assert outputs_bytes <= max_bytes or shard.item_count == 1


def test_what_differs_in_shape_or_is_text_becomes_a_tensor_file() -> None:
    text = np.array([b"a", b"bcd"], object)
    blocks = [
        ItemBlock(rows=Rows(np.array([[n] * n]), text[n - 1 : n]), item_ids=[str(n)], where="x")
        for n in (1, 2)
    ]
    (shard,) = cut(blocks, signature=OPEN, limits=limits(), strict=False)

    inputs, _ = try_inline(iter([shard]), max_bytes=10_000)

    assert inputs is not None
    assert ("safetensors", 2) == (inputs[0].format, inputs[0].item_count)
    assert inputs[0].objects[0].key.endswith(".safetensors")
    read = from_tensor_file(inputs[0].objects[0].inline_bytes() or b"", OPEN.inputs, where="x")
    assert [[1], [2, 2]] == [tokens.tolist() for tokens in read["tokens"]]
    assert text.tolist() == np.asarray(read["text"]).tolist()


def test_items_of_no_size_take_what_was_asked_for() -> None:
    nothing = Signature(inputs=[InputTensor(name="x", dtype="uint8", shape=[0])], model="m:1")

    assert 7 == items_per_shard_for(nothing, items_per_shard=7, max_shard_bytes=1024)


# Image files.


def file(name: str, size_bytes: int = 10, **facts: str) -> ImageFile:
    return ImageFile(name=name, data=name.encode()[:1] * size_bytes, item_id=name, **facts)


def files_in(shard: FileShard) -> dict[str, bytes]:
    return {
        member.name: shard.archive[member.span.first_byte : member.span.end_byte]
        for member in tar_members(io.BytesIO(shard.archive), where="shard")
    }


@given(
    sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=30),
    item_count=st.integers(1, 12),
    archive_bytes=st.integers(1, 10_000),
)
def test_files_are_packed_as_they_are_in_order(
    sizes: list[int], item_count: int, archive_bytes: int
) -> None:
    files = [file(f"{n}.JPG", size) for n, size in enumerate(sizes)]
    held = limits(item_count, archive_bytes)

    shards: list[FileShard] = list(cut(files, signature=SIGNATURE, limits=held, strict=False))

    packed = {name: data for shard in shards for name, data in files_in(shard).items()}
    assert {f"{n:08d}.jpg": f.data for n, f in enumerate(files)} == packed
    assert [f.name for f in files] == [name for shard in shards for name in shard.item_ids or ()]
    for shard in shards:
        assert len(shard.spans) <= item_count
        assert len(shard.spans) == 1 or sum(s.size_bytes for s in shard.spans) <= archive_bytes
        data = [shard.archive[s.first_byte : s.end_byte] for s in shard.spans]
        assert list(files_in(shard).values()) == data
        assert [sha256_hex(each) for each in data] == [s.sha256 for s in shard.spans]
    # and tar programs read it
    with tarfile.open(fileobj=io.BytesIO(shards[0].archive)) as archive:
        assert len(shards[0].spans) == len(archive.getnames())


def test_arrays_and_files_keep_their_order_and_files_their_numbers_in_the_job() -> None:
    blocks = [block(0, 3, ids=True), file("a.png"), file("b"), block(3, 2, ids=True), file("c.gif")]

    rows, two, more, one = cut(blocks, signature=SIGNATURE, limits=limits(), strict=False)

    assert [3, 2, 2, 1] == [each.item_count for each in (rows, two, more, one)]
    assert ["00000003.png", "00000004.img", "00000007.gif"] == [*files_in(two), *files_in(one)]


def test_files_that_cannot_be_read_or_are_too_large_are_items_with_errors() -> None:
    unread = ImageFile(name="a.png", data=b"", item_id="a.png", error="may not be read")
    held = limits(file_bytes=100)

    (shard,) = cut(
        [unread, file("b.png"), file("c.png", 101)], signature=SIGNATURE, limits=held, strict=False
    )

    assert [(0, "may not be read"), (2, "c.png has more than 100 bytes")] == [
        (error.index, error.reason[:29]) for error in shard.errors
    ]
    assert [0, 10, 0] == [span.size_bytes for span in shard.spans]


def test_ids_for_some_files_alone_are_an_error() -> None:
    files = [file("a.png"), ImageFile(name="b.png", data=b"x")]

    with pytest.raises(InputError, match="give ids to all"):
        list(cut(files, signature=SIGNATURE, limits=limits(), strict=False))


def test_bad_files_refuse_everything_together_if_that_is_asked_for() -> None:
    taken = InputTensor(name="x", dtype="uint8", shape=[4, 4, 3])
    signature = Signature(inputs=[taken], model="m:1")
    unread = ImageFile(name="a.png", data=b"", item_id="a", error="a.png may not be read")
    with pytest.raises(InputError, match=r"a.png may not be read; b.png is not an image .*; give"):
        list(cut([unread, file("b.png")], signature=signature, limits=limits(), strict=True))


def test_images_of_any_size_come_in_smaller_archives() -> None:
    def archive_bytes(shape: list[int | None], outputs: Sequence[OutputTensor] = ()) -> int:
        taken = InputTensor(name="x", dtype="uint8", shape=shape)
        signature = Signature(inputs=[taken], outputs=outputs, model="m:1")
        return ShardLimits.of(signature, item_count=9, max_shard_bytes=2**24).archive_bytes

    assert 2**24 == archive_bytes([9, 9, 3])
    assert 2**20 == archive_bytes([None, None, 3])
    # Masks of 21 floats a pixel are 28 times as large.
    mask = OutputTensor(name="mask", shape=[None, None, 21], kind="tensor")
    assert 2**20 // 28 == archive_bytes([None, None, 3], [mask])
