"""Where a shard's inputs go: uploaded as objects, or inlined in the manifest if they are small."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from fornada import keys
from fornada.jobs.shard_inputs import ShardInput, Shards
from fornada.parallel import in_context
from fornada.records import ObjectRef, sha256_hex
from fornada.storage.interface import ObjectStore
from producer.submitting.shards import Part, Shard, StoredShard

#: Concurrent uploads of a job; also the most shards that a stream holds in memory.
_UPLOAD_THREADS = 4
#: Bytes of shards in memory from which no further shard is read.
_MOST_HELD_BYTES = 128 * 1024 * 1024


def upload(
    shards: Iterable[Shard], *, job_id: str, objects: ObjectStore, store: bool
) -> Iterator[ShardInput]:
    """Store what the shards read; yield it, in order.

    Args:
        shards: Taken while no more than three, nor 128 MB, are being stored.
        job_id: The job they belong to.
        objects: The store.
        store: `False` stores nothing and yields the same, for comparison with an existing job.
    """
    job, target = keys.JobKeys(job_id), objects if store else None

    pending: deque[tuple[Future[ShardInput], int]] = deque()
    held_bytes = 0
    with ThreadPoolExecutor(max_workers=_UPLOAD_THREADS) as pool:
        for number, shard in enumerate(shards):
            if not pending and isinstance(shard, StoredShard) and shard.item_ids is None:
                # A thread would have nothing to store.
                yield shard.input
                continue
            keeper = _ObjectKeeper(job=job, shard=number, objects=target)
            pending.append((pool.submit(in_context(shard.kept), keeper), shard.size_bytes))
            held_bytes += shard.size_bytes
            while len(pending) == _UPLOAD_THREADS or held_bytes > _MOST_HELD_BYTES:
                future, size_bytes = pending.popleft()
                held_bytes -= size_bytes
                yield future.result()
        while pending:
            yield pending.popleft()[0].result()


def try_inline(shards: Iterator[Shard], *, max_bytes: int) -> tuple[Shards | None, Iterator[Shard]]:
    """Inline all shards if their inputs have `max_bytes` at most.

    Returns:
        The inlined inputs, or `None` if there are too many bytes; and an iterator over all shards,
        of which no more were taken than needed to tell.
    """
    taken: list[Shard] = []
    inputs: list[ShardInput] = []
    left_bytes = max_bytes
    for number, shard in enumerate(shards):
        taken.append(shard)
        # Compared before encoding, which copies: the shard may be large.
        if shard.size_bytes > left_bytes:
            return None, itertools.chain(taken, shards)
        keeper = _InlineKeeper(shard=number, left_bytes=left_bytes)
        inputs.append(shard.kept(keeper))
        left_bytes = keeper.left_bytes
        if left_bytes < 0:
            return None, itertools.chain(taken, shards)
    return Shards(inputs), iter(taken)


@dataclass(frozen=True, kw_only=True, slots=True)
class _ObjectKeeper:
    """Stores what a shard reads; without `objects` it only says where that would be."""

    job: keys.JobKeys
    shard: int
    objects: ObjectStore | None
    is_inline: bool = False

    def keep(self, part: Part, data: bytes) -> ObjectRef:
        sha256 = sha256_hex(data)
        key = self._key(part, sha256)
        if self.objects is not None:
            self.objects.put(key, data)
        return ObjectRef.of(key, data, sha256=sha256)

    def _key(self, part: Part, sha256: str) -> str:
        if part == "ids":
            return self.job.item_ids(self.shard, sha256)
        if part == "index":
            return self.job.index(self.shard, sha256)
        return self.job.input(self.shard, sha256, part)


@dataclass(kw_only=True, slots=True)
class _InlineKeeper:
    """Keeps what a shard reads in the reference to it, while there is room."""

    shard: int
    left_bytes: int
    is_inline: bool = True

    def keep(self, part: Part, data: bytes) -> ObjectRef:
        self.left_bytes -= len(data)
        sha256 = sha256_hex(data)
        if part == "ids":
            key = keys.inline_item_ids(self.shard, sha256)
        else:
            key = keys.inline_input(self.shard, sha256, part)
        return ObjectRef.of(key, data, sha256=sha256, inline=self.left_bytes >= 0)
