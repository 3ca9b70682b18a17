"""The base of all messages and JSON objects, and the records that several of them share."""

import base64
import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic_core import ErrorDetails

from fornada.errors import IntegrityError, LaterVersionError, MessageError
from fornada.keys import NAME_PATTERN

SCHEMA_VERSION: Literal[1] = 1

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
#: The first version with inline bytes; records without any are written in version 1.
INLINE_VERSION: Literal[2] = 2
#: The version of the jobs that Fornada writes. Its end counts failed items.
JOB_VERSION: Literal[3] = 3
#: Most bytes of a job's inputs, and of a shard's result, that are stored inline.
MAX_INLINE_BYTES = 64 * 1024
#: Most bytes of a message on the queue, before base64 adds a third.
MAX_MESSAGE_BYTES = 64 * 1024

#: What a model's outputs are: probabilities of classes, or values.
Task = Literal["classification", "regression"]
#: Most bytes of a JSON object: more than any caller needs, yet it fits into memory.
MAX_JSON_BYTES = 512 * 1024 * 1024
#: Most bytes of a record that has no lists.
MAX_SMALL_JSON_BYTES = 1024 * 1024
#: Most characters of a field's name that is shown.
_NAME_CHARACTERS = 32
#: Most shards of a job; the manifest of more would exceed MAX_JSON_BYTES.
MAX_SHARDS = 4_000_000

#: A number of things: every JSON parser reads it exactly, and arithmetic on it never fails.
Count = Annotated[int, Field(ge=0, lt=2**53)]
PositiveCount = Annotated[int, Field(ge=1, lt=2**53)]
#: The largest `Count`.
MOST_COUNT = 2**53 - 1
#: A number of things of one shard; those of MAX_SHARDS of them add up to a `Count`.
ShardCount = Annotated[int, Field(ge=1, lt=2**31)]


def now() -> datetime:
    """The current time in UTC, for stamps; durations use a monotonic clock."""
    return datetime.now(UTC)


class Record(BaseModel):
    """Base of everything written as JSON: frozen, strict, without unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    def to_json(self) -> bytes:
        """The record as UTF-8 JSON."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def from_json(cls, data: bytes, *, where: str) -> Self:
        """Parse `data`, which was read from `where`.

        Raises:
            MessageError: It is not JSON or not this record; names the wrong field.
        """
        if len(data) > MAX_JSON_BYTES:
            raise MessageError(f"{where} has {len(data)} bytes, more than {MAX_JSON_BYTES}")
        try:
            return cls.model_validate_json(data)
        except ValidationError as exc:
            raise _message_error(cls, exc, where) from exc

    @classmethod
    def from_plain(cls, data: object, *, where: str) -> Self:
        """Check a decoded JSON value, which came from `where`.

        Raises:
            MessageError: It is not this record; names the wrong field.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as exc:
            raise _message_error(cls, exc, where) from exc


def _message_error(record: type[Record], exc: ValidationError, where: str) -> MessageError:
    problems = "; ".join(
        f"{'.'.join(map(_named, error['loc']))[:200] or 'body'}: {error['msg'][:200]}"
        for error in exc.errors(include_url=False, include_input=False)[:3]
    )
    kind = LaterVersionError if any(map(_is_later, exc.errors(include_url=False))) else MessageError
    return kind(
        f"{where} is not a valid {record.__name__} of a known schema version: {problems}; "
        "write it as docs/reference/messages.md says, or upgrade the older side"
    )


def _is_later(error: ErrorDetails) -> bool:
    found = error["input"]
    return error["loc"] == ("schema_version",) and isinstance(found, int) and found > JOB_VERSION


def _named(part: int | str) -> str:
    # Where fields may have any name, one may carry data.
    is_name = len(str(part)) <= _NAME_CHARACTERS and str(part).replace("-", "_").isidentifier()
    return str(part) if isinstance(part, int) or is_name else "(a name)"


def refuse_before(version: int, record: Record, names: Iterable[str]) -> None:
    """Refuse the fields `names`, which came with `version`, in a record of an older one."""
    own_version = record.schema_version  # type: ignore[attr-defined]  # callers have it
    if own_version >= version:
        return
    for name in names:
        value = record
        for part in name.split("."):
            value = getattr(value, part, None)  # type: ignore[assignment]  # a field's value
        if value:
            raise ValueError(f"version {own_version} has no {name}")


class ModelPin(Record):
    """The exact model that a job runs on; never an alias, which can move."""

    name: Name
    version: PositiveCount
    #: Digest of the `.keras` artifact.
    sha256: Sha256

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


class ObjectRef(Record):
    """An object that a shard reads or writes; a small one may be inline."""

    key: str = Field(min_length=1)
    #: Another bucket of the same store; unset for Fornada's own.
    bucket: str | None = None
    size_bytes: Count
    #: Digest of an object that Fornada stored; verified before use.
    sha256: Sha256 | None = None
    #: ETag of another party's object; verified before use, to detect a change.
    etag: str | None = None
    #: Where the bytes begin, if they are part of a larger object. Version 3.
    first_byte: Count | None = None
    #: The bytes in base64; if set, there is no object under the key.
    inline: str | None = Field(max_length=4 * -(-MAX_INLINE_BYTES // 3), default=None)

    @classmethod
    def of(
        cls, key: str, data: bytes, *, sha256: Sha256 | None = None, inline: bool = False
    ) -> Self:
        """A reference to `data`, stored under `key` or inlined.

        Args:
            key: The object's key.
            data: The bytes.
            sha256: Their digest, if known.
            inline: Whether to inline them.
        """
        return cls(
            key=key,
            size_bytes=len(data),
            sha256=sha256 or hashlib.sha256(data).hexdigest(),
            inline=base64.b64encode(data).decode() if inline else None,
        )

    def part(self, first_byte: int, size_bytes: int, *, sha256: str | None = None) -> "ObjectRef":
        """A reference to some of its bytes.

        Args:
            first_byte: Where they begin among its bytes.
            size_bytes: How many.
            sha256: Their digest, if known.
        """
        own = {"first_byte": (self.first_byte or 0) + first_byte, "size_bytes": size_bytes}
        return self.model_copy(update={**own, "sha256": sha256})

    def inline_bytes(self) -> bytes | None:
        """The inline bytes; `None` if there is an object.

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
    """Why one item of a shard has no result; its row is NaN."""

    #: Position within the shard.
    index: Count
    reason: str


class AliasMove(Record):
    """`aliases/<alias>/<number>.json`: one move of an alias; the last one counts."""

    schema_version: Literal[1] = SCHEMA_VERSION
    version: PositiveCount
    moved_at: AwareDatetime
    #: Whether it returns to an earlier version; the moves in between no longer count as history.
    rollback: bool = False


def sha256_of_file(path: Path) -> str:
    """The sha256 of a file as 64 hex digits; it is not held in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_hex(data: bytes | memoryview) -> str:
    """The sha256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()
