"""Store the inputs of a job's shards, a few at a time, or keep small ones for the manifest."""

import itertools
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from fornada import keys
from fornada.arrays import sha256_hex, to_npy
from fornada.job_manifest import ShardInput, Shards
from fornada.messages import ObjectRef
from fornada.object_store import ObjectStore
from producer.sharding import Shard

#: Shards on their way to the store at a time; also what a streamed submission holds in memory.
_UPLOAD_THREADS = 4


def upload(
    shards: Iterable[Shard], *, job_id: str, objects: ObjectStore, store: bool
) -> Iterator[ShardInput]:
    """Store the shards' images and item ids; say where they lie, in order.

    Args:
        shards: Taken a few at a time, as the store takes them.
        job_id: The job that they belong to.
        objects: Where to store them.
        store: `False` only says what would be stored, to compare it with what is there.
    """

    def put(key: str, data: bytes) -> ObjectRef:
        if store:
            objects.put(key, data)
        return ObjectRef.of(key, data)

    def upload_one(numbered: tuple[int, Shard]) -> ShardInput:
        index, shard = numbered
        item_ids = None
        if shard.item_ids is not None:
            data = _item_ids(shard.item_ids)
            item_ids = put(keys.job_item_ids(job_id, index, sha256_hex(data)), data)
        data = to_npy(shard.images)
        images = put(keys.job_input(job_id, index, sha256_hex(data)), data)
        return ShardInput(objects=[images], item_count=len(shard.images), item_ids=item_ids)

    numbered = enumerate(shards)
    with ThreadPoolExecutor(max_workers=_UPLOAD_THREADS) as pool:
        while group := list(itertools.islice(numbered, _UPLOAD_THREADS)):
            yield from pool.map(upload_one, group)


def held(shards: Iterator[Shard], *, max_bytes: int) -> tuple[Shards | None, Iterator[Shard]]:
    """Look at the shards of a job: are they small?

    Returns:
        All of them with their bytes in them, if these are no more than `max_bytes` together;
        and again all of them, as `shards` was.
    """
    taken: list[Shard] = []
    inputs: list[ShardInput] = []
    left_bytes = max_bytes
    for index, shard in enumerate(shards):
        taken.append(shard)
        # Before it is copied: it may be large.
        encoded = _encoded(shard) if shard.images.nbytes <= left_bytes else None
        if encoded is not None:
            left_bytes -= sum(map(len, encoded))
        if encoded is None or left_bytes < 0:
            return None, itertools.chain(taken, shards)
        inputs.append(_inline(index, len(shard.images), *encoded))
    return Shards(inputs), iter(taken)


def _encoded(shard: Shard) -> tuple[bytes, bytes]:
    """Images and item ids; without ids, no bytes."""
    return to_npy(shard.images), b"" if shard.item_ids is None else _item_ids(shard.item_ids)


def _inline(index: int, item_count: int, images: bytes, item_ids: bytes) -> ShardInput:
    ids = None
    if item_ids:
        key = keys.inline_item_ids(index, sha256_hex(item_ids))
        ids = ObjectRef.of(key, item_ids, inline=True)
    key = keys.inline_input(index, sha256_hex(images))
    return ShardInput(
        objects=[ObjectRef.of(key, images, inline=True)], item_count=item_count, item_ids=ids
    )


def _item_ids(item_ids: list[str]) -> bytes:
    return json.dumps(item_ids).encode()
