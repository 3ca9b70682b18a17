"""`manifest.json`: everything about a job that never changes."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import (
    AwareDatetime,
    Field,
    StringConstraints,
    model_validator,
)

from fornada.coordination.interface import SmallJob
from fornada.formats.tables.binding import TableBinding
from fornada.jobs.shard_inputs import Shards
from fornada.keys import DEFAULT_QUEUE
from fornada.records import (
    INLINE_VERSION,
    JOB_VERSION,
    SCHEMA_VERSION,
    Count,
    ModelPin,
    Name,
    Record,
    Task,
    refuse_before,
)
from fornada.tensors import (
    MAX_SIDES,
    MAX_TENSORS,
    InputTensor,
    OutputTensor,
    only,
    unnamed_tensors,
)

#: Most failed items of a job that is not FAILED: a count, or per cent of all items.
MaxFailed = Count | Annotated[str, StringConstraints(pattern=r"^(100|[0-9]{1,2}(\.[0-9]{1,6})?)%$")]

#: How long a job may take that was given no deadline.
DEFAULT_TIME_TO_END = timedelta(days=7)


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
