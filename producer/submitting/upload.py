"""Where a shard's inputs go: uploaded as objects, or inlined in the manifest if they are small."""

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

#: Concurrent uploads of a job; also the number of shards that a stream holds in memory.
_UPLOAD_THREADS = 4

#: Number of a shard, sha256 of its bytes -> key.
_KeyOf = Callable[[int, str], str]


def upload(
    shards: Iterable[Shard], *, job_id: str, objects: ObjectStore, store: bool
) -> Iterator[ShardInput]:
    """Store the shards' images and item ids; yield what each shard reads, in order.

    Args:
        shards: Taken four at a time.
        job_id: The job they belong to.
        objects: The store.
        store: `False` stores nothing and yields the same, for comparison with an existing job.
    """
    job = keys.JobKeys(job_id)
    put: Callable[[str, bytes], None] = objects.put if store else lambda _key, _data: None

    def upload_one(numbered: tuple[int, Shard]) -> ShardInput:
        index, shard = numbered
        return _shard_input(
            index, shard, _encode(shard), images_key=job.input, ids_key=job.item_ids, put=put
        )

    numbered = enumerate(shards)
    with ThreadPoolExecutor(max_workers=_UPLOAD_THREADS) as pool:
        while group := list(itertools.islice(numbered, _UPLOAD_THREADS)):
            yield from pool.map(upload_one, group)


def try_inline(shards: Iterator[Shard], *, max_bytes: int) -> tuple[Shards | None, Iterator[Shard]]:
    """Inline all shards if their inputs have `max_bytes` at most.

    Returns:
        The inlined inputs, or `None` if there are too many bytes; and an iterator over all shards,
        of which no more were taken than needed to tell.
    """
    taken: list[Shard] = []
    inputs: list[ShardInput] = []
    left_bytes = max_bytes
    for index, shard in enumerate(shards):
        taken.append(shard)
        # Compared before encoding, which copies: the shard may be large.
        encoded = _encode(shard) if shard.images.nbytes <= left_bytes else None
        if encoded is not None:
            left_bytes -= sum(map(len, encoded))
        if encoded is None or left_bytes < 0:
            return None, itertools.chain(taken, shards)
        inputs.append(
            _shard_input(
                index, shard, encoded, images_key=keys.inline_input, ids_key=keys.inline_item_ids
            )
        )
    return Shards(inputs), iter(taken)


def _encode(shard: Shard) -> tuple[bytes, bytes]:
    """Images and item ids; no bytes if the shard has no ids."""
    ids = b"" if shard.item_ids is None else json.dumps(shard.item_ids).encode()
    return to_npy(shard.images), ids


def _shard_input(
    index: int,
    shard: Shard,
    encoded: tuple[bytes, bytes],
    *,
    images_key: _KeyOf,
    ids_key: _KeyOf,
    put: Callable[[str, bytes], None] | None = None,
) -> ShardInput:
    """What a shard reads: the objects that `put` stores, or without it the bytes themselves."""

    def keep(key_of: _KeyOf, data: bytes) -> ObjectRef:
        sha256 = sha256_hex(data)
        key = key_of(index, sha256)
        if put is not None:
            put(key, data)
        return ObjectRef.of(key, data, sha256=sha256, inline=put is None)

    images, ids = encoded
    return ShardInput(
        objects=[keep(images_key, images)],
        item_count=len(shard.images),
        item_ids=keep(ids_key, ids) if ids else None,
        item_errors=shard.errors,
    )
