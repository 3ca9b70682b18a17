"""Store the inputs of a job's shards, a few at a time."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from fornada import keys
from fornada.arrays import sha256_hex, to_npy
from fornada.job_manifest import ShardInput
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

    def put(key_of: Callable[[str, int, str], str], index: int, data: bytes) -> ObjectRef:
        sha256 = sha256_hex(data)
        key = key_of(job_id, index, sha256)
        if store:
            objects.put(key, data)
        return ObjectRef(key=key, size_bytes=len(data), sha256=sha256)

    def upload_one(numbered: tuple[int, Shard]) -> ShardInput:
        index, shard = numbered
        item_ids = None
        if shard.item_ids is not None:
            item_ids = put(keys.job_item_ids, index, json.dumps(shard.item_ids).encode())
        images = put(keys.job_input, index, to_npy(shard.images))
        return ShardInput(objects=[images], item_count=len(shard.images), item_ids=item_ids)

    numbered = enumerate(shards)
    with ThreadPoolExecutor(max_workers=_UPLOAD_THREADS) as pool:
        while group := list(itertools.islice(numbered, _UPLOAD_THREADS)):
            yield from pool.map(upload_one, group)
