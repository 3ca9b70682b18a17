"""Shards on their way to the store: rows, image files, or what is stored already."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from fornada.formats.items import Array
from fornada.formats.npy import to_npy
from fornada.formats.tar import Span, index_json
from fornada.formats.tensor_file import Column, FilesTensor, column_bytes, to_tensor_file
from fornada.jobs.shard_inputs import ShardInput
from fornada.records import ItemError, ObjectRef
from fornada.tensors import InputTensor
from producer.inputs.interface import Signature
from producer.submitting.item_sizes import least_open_bytes

#: Enough for a call of ten large photographs; a few are in memory at a time.
_ARCHIVE_BYTES = 64 * 1024 * 1024
#: Assumed size of a decoded image, as a multiple of its file's, where its size is open.
_EXPANSION = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardLimits:
    """What goes into a shard, at most."""

    item_count: int
    #: Of an archive with several image files.
    archive_bytes: int
    #: Of an image file, of all rows, and of all outputs.
    file_bytes: int

    @classmethod
    def of(cls, signature: Signature, *, item_count: int, max_shard_bytes: int) -> "ShardLimits":
        """Such that a shard's bytes, and its items once decoded, fit into `max_shard_bytes`."""
        most = max_shard_bytes
        if any(tensor.is_open for tensor in signature.inputs):
            # Outputs of open shape have the size of the image.
            most //= _EXPANSION * max(1, _grown(signature))
        return cls(
            item_count=item_count,
            archive_bytes=min(_ARCHIVE_BYTES, most),
            file_bytes=max_shard_bytes,
        )


def _grown(signature: Signature) -> int:
    """Bytes of an item's open outputs, as a multiple of those of its open inputs."""
    return least_open_bytes(signature.outputs) // max(1, least_open_bytes(signature.inputs))


Part = Literal["npy", "safetensors", "tar", "ids", "index"]


class Keeper(Protocol):
    """Keeps what a shard reads."""

    @property
    def is_inline(self) -> bool:
        """Whether it becomes part of the manifest, and is not an object."""

    def keep(self, part: Part, data: bytes) -> ObjectRef:
        """A reference to `data`, which is kept."""


class Shard(Protocol):
    """Items that become one message."""

    @property
    def size_bytes(self) -> int:
        """What has to be kept for it, without ids."""

    @property
    def item_count(self) -> int:
        """Its items."""

    def kept(self, keeper: Keeper) -> ShardInput:
        """What the shard reads, once `keeper` has all of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayShard:
    """Rows of an array.

    images: item dtype [items, *item_shape].
    """

    images: Array
    item_ids: Sequence[str] | None
    #: Items that could not be read.
    errors: list[ItemError] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return self.images.nbytes

    @property
    def item_count(self) -> int:
        return len(self.images)

    def kept(self, keeper: Keeper) -> ShardInput:
        return ShardInput(
            objects=[keeper.keep("npy", to_npy(self.images))],
            item_count=len(self.images),
            item_ids=_kept_ids(self.item_ids, keeper),
            item_errors=self.errors,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorShard:
    """Items of several inputs, of text, or of varying shapes."""

    #: One for each input.
    columns: Sequence[Column]
    inputs: Sequence[InputTensor]
    #: Those whose columns are image files.
    files: frozenset[str] = frozenset()
    item_ids: Sequence[str] | None
    #: Items that could not be read.
    errors: list[ItemError] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return sum(map(column_bytes, self.columns))

    @property
    def item_count(self) -> int:
        return len(self.columns[0])

    def kept(self, keeper: Keeper) -> ShardInput:
        named = {t.name: column for t, column in zip(self.inputs, self.columns, strict=True)}
        stored = [FilesTensor(t.name) if t.name in self.files else t for t in self.inputs]
        return ShardInput(
            format="safetensors",
            objects=[keeper.keep("safetensors", to_tensor_file(named, stored))],
            item_count=self.item_count,
            files=sorted(self.files),
            item_ids=_kept_ids(self.item_ids, keeper),
            item_errors=self.errors,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FileShard:
    """Image files in a tar archive."""

    archive: bytes
    #: Where each file is in it.
    spans: Sequence[Span]
    item_ids: Sequence[str] | None
    #: Files that could not be read.
    errors: list[ItemError] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return len(self.archive)

    @property
    def item_count(self) -> int:
        return len(self.spans)

    def kept(self, keeper: Keeper) -> ShardInput:
        return ShardInput(
            format="tar",
            objects=[keeper.keep("tar", self.archive)],
            item_count=len(self.spans),
            # An archive that is at hand is faster read than its index.
            index=None if keeper.is_inline else keeper.keep("index", index_json(self.spans)),
            item_ids=_kept_ids(self.item_ids, keeper),
            item_errors=self.errors,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredArchiveShard:
    """Image files in a part of an archive that is in the store."""

    part: ObjectRef
    #: Where each file is in the part.
    spans: Sequence[Span]
    item_ids: Sequence[str]
    #: Files that are too large.
    errors: list[ItemError] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return 0

    @property
    def item_count(self) -> int:
        return len(self.spans)

    def kept(self, keeper: Keeper) -> ShardInput:
        return ShardInput(
            format="tar",
            objects=[self.part],
            item_count=len(self.spans),
            index=keeper.keep("index", index_json(self.spans)),
            item_ids=_kept_ids(self.item_ids, keeper),
            item_errors=self.errors,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredShard:
    """Objects that are in the store."""

    input: ShardInput
    #: Ids of its items, if keys are none.
    item_ids: Sequence[str] | None = None

    @property
    def size_bytes(self) -> int:
        return 0

    @property
    def item_count(self) -> int:
        return self.input.item_count

    def kept(self, keeper: Keeper) -> ShardInput:
        if self.item_ids is None:
            return self.input
        return self.input.model_copy(update={"item_ids": _kept_ids(self.item_ids, keeper)})


def _kept_ids(item_ids: Sequence[str] | None, keeper: Keeper) -> ObjectRef | None:
    return None if item_ids is None else keeper.keep("ids", json.dumps(item_ids).encode())
