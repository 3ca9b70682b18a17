"""What crosses a process border: the message, and the JSON objects of a job."""

import base64
import hashlib
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
    model_validator,
)

from fornada.errors import IntegrityError, MessageError

SCHEMA_VERSION: Literal[1] = 1

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Dtype = Literal["uint8", "float32", "int32"]
#: The first version that has bytes in place of objects; the older one is written where none are.
INLINE_VERSION: Literal[2] = 2
#: Bytes of a job's inputs together, and of a shard's result, that are not made objects of.
MAX_INLINE_BYTES = 64 * 1024
#: Of a queue's message; base64 around it makes a third more.
MAX_MESSAGE_BYTES = 64 * 1024
#: Shards in one message at most. Of less than a tile, which costs the same however full it is.
MAX_BUNDLE = 32
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
        f"{where} is not a valid {record.__name__} of a known schema version: {problems}; "
        "write it as docs/reference/messages.md says, or upgrade the older side"
    )


class ShardMessage(Record):
    """An argument of the Celery task, which takes several: which shard of which job."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    job_id: Name
    shard: int = Field(ge=0)
    #: The text of the job's manifest, where the job's id vouches for it (`fornada.content_ids`).
    manifest: str | None = Field(max_length=MAX_MESSAGE_BYTES, default=None)

    @model_validator(mode="after")
    def _has_the_fields_of_its_version(self) -> Self:
        refuse_in_version_1(self, "manifest", given=self.manifest is not None)
        return self


def refuse_in_version_1(record: Record, name: str, *, given: bool) -> None:
    """A field of version 2 in a record of version 1 is an unknown field."""
    if given and record.schema_version == SCHEMA_VERSION:  # type: ignore[attr-defined]  # of all that ask
        raise ValueError(f"version {SCHEMA_VERSION} has no {name}")


class ModelPin(Record):
    """The exact model that a job runs on; never an alias, which may move."""

    name: Name
    version: int = Field(ge=1)
    #: Digest of the `.keras` artifact.
    sha256: Sha256

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


class ObjectRef(Record):
    """An object that a shard reads or gives, or, where it is small, the bytes themselves."""

    key: str = Field(min_length=1)
    #: Another bucket of the same store; left out for Fornada's own.
    bucket: str | None = None
    size_bytes: int = Field(ge=0)
    #: For inputs that Fornada stored; checked before use.
    sha256: Sha256 | None = None
    #: For objects of others; checked before use, so that a changed object is noticed.
    etag: str | None = None
    #: The bytes in base64; then there is no object under the key.
    inline: str | None = Field(max_length=4 * -(-MAX_INLINE_BYTES // 3), default=None)

    @classmethod
    def of(
        cls, key: str, data: bytes, *, sha256: Sha256 | None = None, inline: bool = False
    ) -> Self:
        """`data`, which somebody puts under `key`, or which is written here in its place.

        Args:
            key: Where it lies, or would.
            data: The bytes.
            sha256: Of them, where that is known already.
            inline: Write them here.
        """
        return cls(
            key=key,
            size_bytes=len(data),
            sha256=sha256 or hashlib.sha256(data).hexdigest(),
            inline=base64.b64encode(data).decode() if inline else None,
        )

    def inline_bytes(self) -> bytes | None:
        """The bytes that are written here; nothing where there is an object.

        Raises:
            IntegrityError: They are not base64.
        """
        if self.inline is None:
            return None
        try:
            return base64.b64decode(self.inline, validate=True)
        except ValueError as exc:
            raise IntegrityError(f"{self.key} is not base64 ({exc}); submit it again") from exc


class ItemError(Record):
    """Why one item of a shard has no probabilities; its row is NaN."""

    #: Position within the shard.
    index: int = Field(ge=0)
    reason: str


class ShardOutcome(Record):
    """`outcome/<block>/<shard>.json`: the one committed end of a shard."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
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

    @model_validator(mode="after")
    def _has_the_fields_of_its_version(self) -> Self:
        inline = self.data is not None and self.data.inline is not None
        refuse_in_version_1(self, "data.inline", given=inline)
        return self


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

    schema_version: Literal[1, 2] = SCHEMA_VERSION
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
    #: Of a small job of one shard: its outcome, which then has no object of its own.
    outcome: ShardOutcome | None = None

    @model_validator(mode="after")
    def _has_the_fields_of_its_version(self) -> Self:
        refuse_in_version_1(self, "outcome", given=self.outcome is not None)
        return self


class AliasMove(Record):
    """`aliases/<alias>/<number>.json`: one move of an alias; the last of them counts."""

    schema_version: Literal[1] = SCHEMA_VERSION
    version: int = Field(ge=1)
    moved_at: AwareDatetime
    #: It goes back to an earlier version; the moves since then no longer count as earlier ones.
    rollback: bool = False
