"""`manifest.json`: everything about a job that never changes."""

import itertools
from array import array
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, Literal, Self, overload

from pydantic import (
    AwareDatetime,
    Field,
    GetCoreSchemaHandler,
    StringConstraints,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from fornada.coordination.interface import SmallJob
from fornada.formats.tables.binding import TableBinding
from fornada.keys import DEFAULT_QUEUE
from fornada.ranges import Ranges, from_ranges, size_of, to_ranges
from fornada.records import (
    INLINE_VERSION,
    JOB_VERSION,
    MAX_SHARDS,
    SCHEMA_VERSION,
    Count,
    ItemError,
    ModelPin,
    Name,
    ObjectRef,
    PositiveCount,
    Record,
    ShardCount,
    Task,
    refuse_before,
)
from fornada.tensors import (
    MAX_SIDES,
    MAX_TENSORS,
    InputTensor,
    OutputTensor,
    TensorName,
    only,
    unnamed_tensors,
)

#: Most failed items of a job that is not FAILED: a count, or per cent of all items.
MaxFailed = Count | Annotated[str, StringConstraints(pattern=r"^(100|[0-9]{1,2}(\.[0-9]{1,6})?)%$")]

#: How long a job may take that was given no deadline.
DEFAULT_TIME_TO_END = timedelta(days=7)


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
        if any(error.index >= self.item_count for error in self.item_errors):
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
        ranged = any(ref.first_byte is not None for ref in self.refs)
        selects = self.selected is not None or bool(self.item_errors)
        is_new = self.format in {"tar", "safetensors", "parquet"}
        return ranged or selects or is_new or self.index is not None

    def to_json(self) -> bytes:
        """The shard as UTF-8 JSON."""
        # Most shards have neither; versions before 3 do not know the fields.
        empty = {name for name in ("files", "item_errors") if not getattr(self, name)}
        return self.model_dump_json(exclude_none=True, exclude=empty).encode()

    @property
    def is_inline(self) -> bool:
        """Whether some of its bytes are in the manifest."""
        return any(ref.inline is not None for ref in self.refs)

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


_BEFORE_VERSION_3 = ("item_shape", "item_dtype", "classes")
_OF_VERSION_3 = (
    "max_failed",
    "source_job",
    "inputs",
    "outputs",
    "table",
    "queue",
    "owner",
    "webhook",
)


class JobManifest(Record):
    """`manifest.json`: everything about a job that never changes."""

    schema_version: Literal[1, 2, 3] = SCHEMA_VERSION
    job_id: Name
    model: ModelPin
    #: The next four are the one input and output of versions 1 and 2; read `input` and `output`.
    item_shape: list[Count] | None = Field(max_length=MAX_SIDES, default=None)
    item_dtype: Literal["uint8", "float32", "int32"] | None = None
    task: Task | None = None
    classes: list[str] | None = Field(min_length=1, default=None)
    #: What the model takes and gives. Version 3.
    inputs: list[InputTensor] | None = Field(min_length=1, max_length=MAX_TENSORS, default=None)
    outputs: list[OutputTensor] | None = Field(min_length=1, max_length=MAX_TENSORS, default=None)
    #: Which columns of stored tables are the inputs. Version 3.
    table: TableBinding | None = None
    shards: Shards
    max_attempts: int = Field(ge=1, le=100)
    #: Not so late that what is added to it is no date.
    created_at: AwareDatetime = Field(lt=datetime(9000, 1, 1, tzinfo=UTC))
    #: By the broker's clock; from then on, shards are not begun.
    deadline: AwareDatetime | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    #: Random, so that jobs of the same content have different ids (`fornada.jobs.ids`).
    nonce: str | None = Field(max_length=64, default=None)
    #: More failed items than this make the job FAILED; absent for no limit. Version 3.
    max_failed: MaxFailed | None = None
    #: The job whose items this one runs again. Version 3.
    source_job: Name | None = None
    #: The following are version 3, and reserved.
    #: The queue whose workers run it.
    queue: Name | None = None
    owner: Name | None = None
    #: Called with the job's end.
    webhook: str | None = Field(max_length=2000, default=None)

    @model_validator(mode="after")
    def _has_the_fields_of_its_version(self) -> Self:
        refuse_before(INLINE_VERSION, self, ["nonce", "shards.are_inline"])
        refuse_before(JOB_VERSION, self, ["shards.need_version_3", *_OF_VERSION_3])
        has_names = self.schema_version >= JOB_VERSION
        given = {name: getattr(self, name) is not None for name in (*_BEFORE_VERSION_3, "task")}
        if has_names and (any(given.values()) or not (self.inputs and self.outputs)):
            raise ValueError(f"version {self.schema_version} needs inputs and outputs alone")
        if not has_names and not all(given[name] for name in _BEFORE_VERSION_3):
            raise ValueError(f"version {self.schema_version} needs {', '.join(_BEFORE_VERSION_3)}")
        return self

    @cached_property
    def takes(self) -> list[InputTensor]:
        """The model's inputs, in the order in which it takes them."""
        return self.inputs or [self._unnamed[0]]

    @cached_property
    def gives(self) -> list[OutputTensor]:
        """The model's outputs, in its order."""
        return self.outputs or [self._unnamed[1]]

    @property
    def _unnamed(self) -> tuple[InputTensor, OutputTensor]:
        return unnamed_tensors(
            item_shape=self.item_shape or [],
            item_dtype=self.item_dtype,
            classes=self.classes or [],
            task=self.task,
        )

    @property
    def input(self) -> InputTensor:
        """The only input.

        Raises:
            UsageError: There are several.
        """
        return only(self.takes, f"job {self.job_id}", "inputs")

    @property
    def output(self) -> OutputTensor:
        """The only output.

        Raises:
            UsageError: There are several.
        """
        return only(self.gives, f"job {self.job_id}", "outputs")

    @property
    def is_small(self) -> bool:
        """Whether its inputs are inlined; results are too if they are small."""
        return self.shards.are_inline

    @property
    def can_end_with_its_outcome(self) -> bool:
        """Whether its one outcome may be stored in its end instead of an object of its own."""
        return self.is_small and len(self.shards) == 1

    @property
    def item_count(self) -> int:
        """Items in all shards."""
        return sum(self.shards.item_counts)

    @property
    def max_failed_count(self) -> int | None:
        """How many items may fail; `None` for no limit."""
        if isinstance(self.max_failed, str):
            # Exact: 7 % of 100 is 7, and not 7.000000000000001.
            return int(Fraction(self.max_failed.removesuffix("%")) * self.item_count / 100)
        return self.max_failed

    @property
    def queue_name(self) -> str:
        """The queue whose workers run it; one that names none belongs to the default queue."""
        return self.queue or DEFAULT_QUEUE

    @property
    def expires_at(self) -> datetime | None:
        """When the job ends EXPIRED; from version 3 on, every job does."""
        if self.deadline is None and self.schema_version >= JOB_VERSION:
            return self.created_at + DEFAULT_TIME_TO_END
        return self.deadline

    def small_job(self) -> SmallJob:
        """What Redis records of the job."""
        return SmallJob(job_id=self.job_id, shard_count=len(self.shards), deadline=self.expires_at)

    def to_json(self) -> bytes:
        """The manifest as UTF-8 JSON."""
        rest = self.model_dump_json(exclude={"shards"}, exclude_none=True).encode()
        return rest.removesuffix(b"}") + b',"shards":' + self.shards.to_json() + b"}"
