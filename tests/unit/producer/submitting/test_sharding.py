"""Streams cut into shards of one size, nothing lost, nothing out of order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fornada.errors import InputError
from producer.inputs.interface import ItemBlock
from producer.submitting.sharding import Shard, Signature, cut, items_per_shard_for

SIGNATURE = Signature(item_shape=[2], item_dtype="uint8", model="m:1")


def block(first: int, count: int, *, ids: bool = False) -> ItemBlock:
    numbers = np.arange(first, first + count) % 256
    images = np.stack([numbers, numbers], axis=1).astype(np.uint8)
    item_ids = [str(n) for n in range(first, first + count)] if ids else None
    return ItemBlock(images=images, item_ids=item_ids, where=f"block {first}")


def blocks_of(sizes: list[int], *, ids: bool = False) -> list[ItemBlock]:
    firsts = np.cumsum([0, *sizes[:-1]])
    return [block(int(f), s, ids=ids) for f, s in zip(firsts, sizes, strict=True)]


def shards_of(blocks: list[ItemBlock], item_count: int) -> list[Shard]:
    return list(cut(blocks, signature=SIGNATURE, item_count=item_count, strict=False))


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
        np.concatenate([b.images for b in blocks]), np.concatenate([s.images for s in shards])
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

    next(cut(blocks, signature=SIGNATURE, item_count=4, strict=False))

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


def test_items_of_no_size_take_what_was_asked_for() -> None:
    nothing = Signature(item_shape=[0], item_dtype="uint8", model="m:1")

    assert 7 == items_per_shard_for(nothing, items_per_shard=7, max_shard_bytes=1024)
