"""Store the inputs of a job's shards, a few at a time, or keep small ones for the manifest."""

import functools
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from fornada import keys
from fornada.formats.npy import to_npy
from fornada.jobs.manifest import ShardInput, Shards
from fornada.records import ObjectRef, sha256_hex
from fornada.storage.interface import ObjectStore
from producer.submitting.sharding import Shard

#: Shards on their way to the store at a time; also what a streamed submission holds in memory.
_UPLOAD_THREADS = 4

#: Number of a shard, sha256 of the bytes -> the key.
_KeyOf = Callable[[int, str], str]
#: Number of a shard, bytes -> where they are kept.
_Keep = Callable[[int, bytes], ObjectRef]


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

    def put(key_of: _KeyOf, index: int, data: bytes) -> ObjectRef:
        sha256 = sha256_hex(data)
        key = key_of(index, sha256)
        if store:
            objects.put(key, data)
        return ObjectRef.of(key, data, sha256=sha256)

    def upload_one(numbered: tuple[int, Shard]) -> ShardInput:
        index, shard = numbered
        return _shard_input(
            index,
            len(shard.images),
            _encoded(shard),
            images=functools.partial(put, keys.JobKeys(job_id).input),
            item_ids=functools.partial(put, keys.JobKeys(job_id).item_ids),
        )

    numbered = enumerate(shards)
    with ThreadPoolExecutor(max_workers=_UPLOAD_THREADS) as pool:
        while group := list(itertools.islice(numbered, _UPLOAD_THREADS)):
            yield from pool.map(upload_one, group)


def try_inline(shards: Iterator[Shard], *, max_bytes: int) -> tuple[Shards | None, Iterator[Shard]]:
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
        inputs.append(
            _shard_input(
                index,
                len(shard.images),
                encoded,
                images=functools.partial(_inline, keys.inline_input),
                item_ids=functools.partial(_inline, keys.inline_item_ids),
            )
        )
    return Shards(inputs), iter(taken)


def _encoded(shard: Shard) -> tuple[bytes, bytes]:
    """Images and item ids; without ids, no bytes."""
    ids = b"" if shard.item_ids is None else json.dumps(shard.item_ids).encode()
    return to_npy(shard.images), ids


def _inline(key_of: _KeyOf, index: int, data: bytes) -> ObjectRef:
    sha256 = sha256_hex(data)
    return ObjectRef.of(key_of(index, sha256), data, sha256=sha256, inline=True)


def _shard_input(
    index: int, item_count: int, encoded: tuple[bytes, bytes], *, images: _Keep, item_ids: _Keep
) -> ShardInput:
    """What a shard reads, once its bytes are kept."""
    image_bytes, id_bytes = encoded
    ids = item_ids(index, id_bytes) if id_bytes else None
    return ShardInput(objects=[images(index, image_bytes)], item_count=item_count, item_ids=ids)
