"""`manifest.json`: everything about a job that never changes."""

import itertools
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self, overload

from pydantic import AwareDatetime, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from fornada.coordination.interface import SmallJob
from fornada.records import (
    MAX_SHARDS,
    SCHEMA_VERSION,
    Dtype,
    ModelPin,
    Name,
    ObjectRef,
    Record,
    Task,
    refuse_in_version_1,
)


class ShardInput(Record):
    """What a shard reads, and its number of items."""

    #: `npy`: one object, an array of items. `image`: one PNG or JPEG object per item.
    format: Literal["npy", "image"] = "npy"
    objects: list[ObjectRef] = Field(min_length=1)
    item_count: int = Field(ge=1)
    #: JSON array of strings, the caller's id of each item; absent if items are numbered.
    item_ids: ObjectRef | None = None
    #: Number of the first item, if it is not the count of items before: a shard that is retried
    #: in another job keeps its numbers.
    first_item: int | None = Field(ge=0, default=None)

    @property
    def is_inline(self) -> bool:
        """Whether some of its bytes are in the manifest."""
        refs = [*self.objects, *filter(None, [self.item_ids])]
        return any(ref.inline is not None for ref in refs)


class Shards(Sequence[ShardInput]):
    """The shards of a job, held as the JSON they are stored as.

    As records, 100,000 of them take half a gigabyte in every process that knows the job.
    """

    def __init__(self, shards: Iterable[ShardInput]) -> None:
        #: Items in each shard.
        self.item_counts = array("q")
        self._given_first_items = array("q")
        self._ends = array("q")
        #: Whether some of their bytes are in the manifest.
        self.are_inline = False
        written = bytearray()
        for shard in shards:
            written += b"," if written else b""
            written += shard.to_json()
            self._ends.append(len(written))
            self.are_inline = self.are_inline or shard.is_inline
            self.item_counts.append(shard.item_count)
            self._given_first_items.append(-1 if shard.first_item is None else shard.first_item)
        self._json = bytes(written)

    @property
    def starts(self) -> list[int]:
        """The count of items before each shard."""
        return list(itertools.accumulate(self.item_counts, initial=0))[:-1]

    @property
    def first_items(self) -> list[int]:
        """The number of each shard's first item; in a retry, the number in the first job."""
        numbered = zip(self._given_first_items, self.starts, strict=True)
        return [start if given < 0 else given for given, start in numbered]

    def to_json(self) -> bytes:
        """The shards as a JSON array."""
        return b"[" + self._json + b"]"

    @overload
    def __getitem__(self, index: int) -> ShardInput: ...
    @overload
    def __getitem__(self, index: slice) -> list[ShardInput]: ...
    def __getitem__(self, index: int | slice) -> ShardInput | list[ShardInput]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        index = range(len(self))[index]
        start = self._ends[index - 1] + 1 if index else 0
        return ShardInput.model_validate_json(self._json[start : self._ends[index]])

    def __len__(self) -> int:
        return len(self._ends)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shards) and self._json == other._json

    def __hash__(self) -> int:
        return hash(self._json)

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # One record at a time: a list of all would take the half gigabyte.
        one_by_one = core_schema.generator_schema(
            handler.generate_schema(ShardInput), min_length=1, max_length=MAX_SHARDS
        )
        parsed = core_schema.no_info_after_validator_function(cls, one_by_one)
        return core_schema.json_or_python_schema(
            json_schema=parsed,
            python_schema=core_schema.union_schema(
                [core_schema.is_instance_schema(cls), parsed], mode="left_to_right"
            ),
            serialization=core_schema.plain_serializer_function_ser_schema(
                list, return_schema=core_schema.list_schema(handler.generate_schema(ShardInput))
            ),
        )


class JobManifest(Record):
    """`manifest.json`: everything about a job that never changes."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    job_id: Name
    model: ModelPin
    #: Shape of one item, without the leading axis.
    item_shape: list[int]
    item_dtype: Dtype
    task: Task = "classification"
    #: Names of the outputs: classes, or values of a regression.
    classes: list[str]
    shards: Shards
    max_attempts: int = Field(ge=1, le=100)
    created_at: AwareDatetime
    #: By the broker's clock; from then on, shards are not begun.
    deadline: AwareDatetime | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    #: Random, so that jobs of the same content have different ids (`fornada.jobs.ids`).
    nonce: str | None = Field(max_length=64, default=None)

    @model_validator(mode="after")
    def _has_the_fields_of_its_version(self) -> Self:
        refuse_in_version_1(self, "nonce", given=self.nonce is not None)
        refuse_in_version_1(self, "inline", given=self.shards.are_inline)
        return self

    @property
    def is_small(self) -> bool:
        """Whether its inputs are inlined; results are too if they are small."""
        return self.schema_version != SCHEMA_VERSION

    @property
    def can_end_with_its_outcome(self) -> bool:
        """Whether its one outcome may be stored in its end instead of an object of its own."""
        return self.is_small and len(self.shards) == 1

    @property
    def item_count(self) -> int:
        """Items in all shards."""
        return sum(self.shards.item_counts)

    def small_job(self) -> SmallJob:
        """What Redis records of the job."""
        return SmallJob(job_id=self.job_id, shard_count=len(self.shards), deadline=self.deadline)

    def to_json(self) -> bytes:
        """The manifest as UTF-8 JSON."""
        rest = self.model_dump_json(exclude={"shards"}, exclude_none=True).encode()
        return rest.removesuffix(b"}") + b',"shards":' + self.shards.to_json() + b"}"
