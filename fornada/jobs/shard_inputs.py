"""What the shards of a job read: objects, or parts of them, and their items."""

import itertools
from array import array
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Self, overload

from pydantic import (
    Field,
    GetCoreSchemaHandler,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from fornada.ranges import Ranges, from_ranges, size_of, to_ranges
from fornada.records import (
    MAX_SHARDS,
    Count,
    ItemError,
    ObjectRef,
    PositiveCount,
    Record,
    ShardCount,
)
from fornada.tensors import (
    MAX_TENSORS,
    TensorName,
)


class ShardInput(Record):
    """What a shard reads, and its number of items."""

    #: `npy`: one object, an array of items. `image`: one image file an item. `tar`: one object, an
    #: archive of image files. `safetensors`: one object, what `fornada.formats.tensor_file` writes.
    #: `parquet`: rows of one object, whose columns the manifest's `table` binds.
    #: The last three are of version 3.
    format: Literal["npy", "image", "tar", "safetensors", "parquet"] = "npy"
    objects: list[ObjectRef] = Field(min_length=1)
    item_count: ShardCount
    #: Inputs whose place in the tensor file has image files, which become items as the input says.
    #: Version 3.
    files: Annotated[list[TensorName], Field(max_length=MAX_TENSORS)] = Field(default_factory=list)
    #: JSON array: where each file is in the archive, which may hold others too (`file_index`).
    #: Absent if the archive holds the items and nothing else. Version 3.
    index: ObjectRef | None = None
    #: The first and the last row group that it reads, for format `parquet`. Version 3.
    row_groups: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = None
    #: How many of their rows come before its own; absent for none. Version 3.
    first_row: PositiveCount | None = None
    #: JSON array of strings, the caller's id of each item; absent if items are numbered.
    item_ids: ObjectRef | None = None
    #: Number of the first item, if it is not the count of items before: a shard that is retried
    #: in another job keeps its numbers.
    first_item: Count | None = None
    #: Which of the items in `objects` and `item_ids` are the shard's; absent for all. Version 3.
    selected: Ranges | None = Field(min_length=1, default=None)
    #: Items that the submitter could not read, and why; what stands in for them is not
    #: predicted. Version 3.
    item_errors: list[ItemError] = Field(default_factory=list)

    @model_validator(mode="after")
    def _selects_its_items(self) -> Self:
        # Not expanded: each of many shards may select millions.
        selected = self.item_count if self.selected is None else size_of(self.selected)
        if self.item_count != selected:
            raise ValueError(f"{selected} items are selected, not {self.item_count}")
        if self.item_errors and any(e.index >= self.item_count for e in self.item_errors):
            raise ValueError(f"an item error is not among {self.item_count} items")
        if (self.format == "parquet") != (self.row_groups is not None):
            raise ValueError("row_groups go with format parquet")
        if self.files and self.format != "safetensors":
            raise ValueError("files go with format safetensors")
        return self

    @property
    def positions(self) -> Sequence[int]:
        """Where its items are among those in `objects` and `item_ids`."""
        return range(self.item_count) if self.selected is None else from_ranges(self.selected)

    def select(self, positions: Sequence[int]) -> "ShardInput":
        """A shard of some of its items; `first_item` remains that of the first in `objects`."""
        own, wanted = self.positions, {at: index for index, at in enumerate(positions)}
        errors = [e for e in self.item_errors if e.index in wanted]
        return self.model_copy(
            update={
                "item_count": len(positions),
                "selected": to_ranges(own[at] for at in positions),
                "item_errors": [ItemError(index=wanted[e.index], reason=e.reason) for e in errors],
            }
        )

    @property
    def needs_version_3(self) -> bool:
        """Whether it has a field that older versions lack."""
        selects = self.selected is not None or bool(self.item_errors)
        is_new = self.format in {"tar", "safetensors", "parquet"}
        if selects or is_new or self.index is not None:
            return True
        # As for `is_inline`: most shards have one object and nothing beside it.
        for ref in self.objects:
            if ref.first_byte is not None:
                return True
        return self.item_ids is not None and self.item_ids.first_byte is not None

    def to_json(self) -> bytes:
        """The shard as UTF-8 JSON."""
        # Most shards have neither; versions before 3 do not know the fields.
        empty = {name for name in ("files", "item_errors") if not getattr(self, name)}
        # What `model_dump_json` calls, which takes as long again.
        return self.__pydantic_serializer__.to_json(self, exclude_none=True, exclude=empty)

    @property
    def is_inline(self) -> bool:
        """Whether some of its bytes are in the manifest."""
        for ref in self.objects:
            if ref.inline is not None:
                return True
        return any(
            ref is not None and ref.inline is not None for ref in (self.item_ids, self.index)
        )

    @property
    def refs(self) -> list[ObjectRef]:
        """All objects that it names."""
        return [*self.objects, *filter(None, [self.item_ids, self.index])]


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
        #: Whether one has a field that versions before 3 lack.
        self.need_version_3 = False
        written = bytearray()
        for shard in shards:
            written += b"," if written else b""
            written += shard.to_json()
            self._ends.append(len(written))
            self.are_inline = self.are_inline or shard.is_inline
            self.need_version_3 = self.need_version_3 or shard.needs_version_3
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
