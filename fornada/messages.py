"""What crosses a process border: the message, and the JSON objects of a job."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from fornada.errors import MessageError

SCHEMA_VERSION: Literal[1] = 1

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Dtype = Literal["uint8", "float32", "int32"]
#: What a model's outputs are: a probability for each class, or values.
Task = Literal["classification", "regression"]
#: Far more than any caller needs, and little enough to be read whole.
MAX_JSON_BYTES = 512 * 1024 * 1024
#: A manifest of more shards would have more bytes than that.
MAX_SHARDS = 4_000_000


def _ascending(ranges: list[list[int]]) -> list[list[int]]:
    """Refuse what is no set of shards, before anybody counts through it."""
    before = -1
    for first, last in ranges:
        if not before < first <= last < MAX_SHARDS:
            raise ValueError(f"[{first}, {last}] is no range of shards after {before}")
        before = last
    return ranges


#: Shards as ranges [first, last], ascending.
ShardRanges = Annotated[
    list[Annotated[list[int], Field(min_length=2, max_length=2)]], AfterValidator(_ascending)
]


def now() -> datetime:
    """The present moment in UTC, for stamps; durations use a monotonic clock."""
    return datetime.now(UTC)


class Record(BaseModel):
    """Base of everything that is written as JSON: frozen, strict, no unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    def to_json(self) -> bytes:
        """The record as UTF-8 JSON."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def from_json(cls, data: bytes, *, where: str) -> Self:
        """Parse `data`, which was read from `where`.

        Raises:
            MessageError: It is not JSON, or not this record; says which field is wrong.
        """
        if len(data) > MAX_JSON_BYTES:
            raise MessageError(f"{where} has {len(data)} bytes, more than {MAX_JSON_BYTES}")
        try:
            return cls.model_validate_json(data)
        except ValidationError as exc:
            raise _message_error(cls, exc, where) from exc

    @classmethod
    def from_plain(cls, data: object, *, where: str) -> Self:
        """Check an already decoded JSON value, which came from `where`.

        Raises:
            MessageError: It is not this record; says which field is wrong.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as exc:
            raise _message_error(cls, exc, where) from exc


def _message_error(record: type[Record], exc: ValidationError, where: str) -> MessageError:
    problems = "; ".join(
        f"{'.'.join(str(part) for part in error['loc'])[:200] or 'body'}: {error['msg'][:200]}"
        for error in exc.errors(include_url=False, include_input=False)[:3]
    )
    return MessageError(
        f"{where} is not a valid {record.__name__} of schema version {SCHEMA_VERSION}: {problems}; "
        "write it as docs/reference/messages.md says, or upgrade the older side"
    )


class ShardMessage(Record):
    """The one argument of the Celery task: ids only, about 1 KB in Celery's envelope."""

    schema_version: Literal[1] = SCHEMA_VERSION
    job_id: Name
    shard: int = Field(ge=0)


class ModelPin(Record):
    """The exact model that a job runs on; never an alias, which may move."""

    name: Name
    version: int = Field(ge=1)
    #: Digest of the `.keras` artifact.
    sha256: Sha256

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


class ObjectRef(Record):
    """An object that the shard reads."""

    key: str = Field(min_length=1)
    #: Another bucket of the same store; left out for Fornada's own.
    bucket: str | None = None
    size_bytes: int = Field(ge=0)
    #: For inputs that Fornada stored; checked before use.
    sha256: Sha256 | None = None
    #: For objects of others; checked before use, so that a changed object is noticed.
    etag: str | None = None


class ItemError(Record):
    """Why one item of a shard has no probabilities; its row is NaN."""

    #: Position within the shard.
    index: int = Field(ge=0)
    reason: str


class ShardOutcome(Record):
    """`outcome/<block>/<shard>.json`: the one committed end of a shard."""

    schema_version: Literal[1] = SCHEMA_VERSION
    job_id: Name
    shard: int = Field(ge=0)
    status: Literal["ok", "dead"]
    attempt: str
    #: How many times the shard was begun, this time included.
    attempts: int = Field(ge=1, default=1)
    #: Predicted in a process of its own, after earlier attempts ended their workers.
    isolated: bool = False
    #: float32 [items, classes] as `.npy`; only when ok.
    data: ObjectRef | None = None
    item_count: int = Field(ge=1)
    item_errors: list[ItemError] = Field(default_factory=list)
    #: Only when dead: `input` or `crash-loop`, and the words.
    reason: str | None = None
    detail: str | None = None
    model_sha256: Sha256
    engine: str | None = None
    #: Rows of every predict call; the same bytes come back only for the same tile.
    tile_items: int | None = None
    worker: str
    began_at: AwareDatetime
    committed_at: AwareDatetime
    fetch_s: float = Field(ge=0, default=0.0)
    predict_s: float = Field(ge=0, default=0.0)
    upload_s: float = Field(ge=0, default=0.0)


class CancelRequest(Record):
    """`control.json`: somebody asked to cancel."""

    schema_version: Literal[1] = SCHEMA_VERSION
    requested_at: AwareDatetime
    reason: str


class JobState(StrEnum):
    """Where a job stands. The last four are ends, and never change."""

    #: Submitted; no outcome yet.
    QUEUED = "QUEUED"
    #: Some shards have outcomes.
    RUNNING = "RUNNING"
    #: Every shard has an ok outcome.
    SUCCEEDED = "SUCCEEDED"
    #: A shard is dead, or the model cannot be used; what is done stays readable.
    FAILED = "FAILED"
    #: Cancelled; what was done stays readable.
    CANCELLED = "CANCELLED"
    #: The deadline passed; what was done stays readable.
    EXPIRED = "EXPIRED"


class JobFinal(Record):
    """`final.json`: how a job ended; written once."""

    schema_version: Literal[1] = SCHEMA_VERSION
    job_id: Name
    state: Literal["SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"]
    reason: str | None = None
    #: When the first shard that has an outcome was begun.
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime
    #: When the last outcome that counts was committed.
    last_outcome_at: AwareDatetime | None = None
    shards_ok: int = Field(ge=0)
    shards_dead: int = Field(ge=0)
    shards_missing: int = Field(ge=0)
    items_ok: int = Field(ge=0)
    items_failed: int = Field(ge=0)
    #: How many times the shards whose outcomes count were begun.
    attempts: int = Field(ge=0, default=0)
    #: Ranges [first, last] of the shards whose outcomes count; later ones do not.
    outcome_ranges: ShardRanges
    #: Those of them that are dead, whatever comes later.
    dead_ranges: ShardRanges = Field(default_factory=list)
    #: sha256 over a line `shard status data-sha256` for each outcome that counts, in order.
    outcomes_sha256: Sha256


class AliasMove(Record):
    """`aliases/<alias>/<number>.json`: one move of an alias; the last of them counts."""

    schema_version: Literal[1] = SCHEMA_VERSION
    version: int = Field(ge=1)
    moved_at: AwareDatetime
    #: It goes back to an earlier version; the moves since then no longer count as earlier ones.
    rollback: bool = False
