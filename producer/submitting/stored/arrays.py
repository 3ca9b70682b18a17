"""Arrays in the store as shards: of many, a few headers are read, and sizes tell the rest."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from fornada.errors import InputError
from fornada.formats.npy import MAX_HEADER_BYTES
from fornada.jobs.shard_inputs import ShardInput
from fornada.storage.interface import ObjectInfo, ObjectStore
from fornada.tensors import InputTensor
from producer.inputs.array_header import ArrayHeader
from producer.inputs.stored_images import FoundObject, read_each
from producer.submitting.shards import Shard, StoredShard

#: Headers that are read in any case: what is wrong with all arrays is wrong with these.
_READ_ANYWAY = 8
#: The header of nearly every `.npy` file. Of an item that has as many bytes or more, a size tells
#: how long the header is, too.
_HEADER_BYTES = 128


def count_items(
    files: Sequence[FoundObject],
    *,
    objects: ObjectStore,
    taken: InputTensor,
    model: str,
    reads_all: bool,
) -> dict[str, int]:
    """How many items each of the arrays holds, by its key.

    Reading a header takes a request. Of many arrays, those are counted by their sizes that leave no
    doubt. Workers check what they read: a shard of another shape or dtype is dead.

    Args:
        files: The arrays.
        objects: The store.
        taken: What the model takes.
        model: For error messages.
        reads_all: Read every header.

    Raises:
        InputError: An array whose header is read is no such array, or the store does not give it.
        StoreError: The store cannot be reached or refuses.
    """
    item_bytes = 0
    if not (reads_all or taken.is_open):
        item_bytes = math.prod(taken.fixed_shape) * np.dtype(taken.numpy_dtype).itemsize
    read = _to_read(files, item_bytes)

    def count(info: ObjectInfo) -> int:
        file = FoundObject(info=info, bucket=bucket, kind="npy")
        head = objects.get(info.key, bucket=bucket, max_bytes=MAX_HEADER_BYTES).data
        header = ArrayHeader.of_npy(head, where=file.where)
        header.check_size(info.size_bytes)
        return _checked_items(header, taken, model)

    bucket = files[0].bucket if files else None
    infos = [file.info for file in read]
    counts = read_each(infos, count, bucket=bucket)
    counted = {info.key: count for info, count in zip(infos, counts, strict=True)}
    of_size = {info.size_bytes: count for info, count in zip(infos, counts, strict=True)}
    for file in files:
        info = file.info
        if info.key not in counted:
            known = of_size.get(info.size_bytes)
            counted[info.key] = known or (info.size_bytes - _HEADER_BYTES) // item_bytes
    return counted


def _to_read(files: Sequence[FoundObject], item_bytes: int) -> list[FoundObject]:
    """The arrays whose headers are read; all of them, if items have no one size."""
    if not item_bytes:
        return list(files)
    read, sizes = list(files[:_READ_ANYWAY]), {f.info.size_bytes for f in files[:_READ_ANYWAY]}
    for file in files[_READ_ANYWAY:]:
        size_bytes = file.info.size_bytes
        if size_bytes in sizes:
            continue
        data_bytes = size_bytes - _HEADER_BYTES
        if item_bytes < _HEADER_BYTES or data_bytes <= 0 or data_bytes % item_bytes:
            sizes.add(size_bytes)
            read.append(file)
    return read


def _checked_items(header: ArrayHeader, taken: InputTensor, model: str) -> int:
    """How many items the array holds, which are what the model takes."""
    header.check_items(taken.shape, model=model)
    if header.dtype != np.dtype(taken.numpy_dtype):
        raise InputError(
            f"{header.where}: dtype {header.dtype}, but {model} takes {taken.numpy_dtype}, and "
            f"stored objects are used as they are; write it again as {taken.numpy_dtype}"
        )
    return header.shape[0]


def array_shards(file: FoundObject, item_count: int, most_items: int) -> Iterator[Shard]:
    """The array as a shard, or as several that read all of it if its outputs are too many."""
    whole = ShardInput(objects=[file.ref], item_count=item_count)
    if item_count <= most_items:
        yield StoredShard(input=whole)
        return
    for start in range(0, item_count, most_items):
        yield StoredShard(input=whole.select(range(start, min(start + most_items, item_count))))
